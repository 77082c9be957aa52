WITH RECURSIVE
-- PostgreSQL's own functions that do more than to compute: 8 where a replica may not run them or
-- answers otherwise, 2 where they may leave something on the connection, 32 where nobody sees what:
-- the names and the SQL that an expression has are not read. Volatile ones that nobody has looked at
-- yet (of a later release) are taken for 8 and 2.
builtin AS MATERIALIZED (
    SELECT oid, CASE
        WHEN proname ~ '_to_xml|^pg_(create|copy)_(logical|physical)_rep|_origin_session_setup$'
            OR proname IN ('set_config', 'setseed', 'ts_stat', 'ts_rewrite') THEN 42
        WHEN provolatile <> 'v' OR proname ~ ('^(RI_FKey_|pg_(try_)?advisory_xact_|pg_ls_|pg_read_'
                || '|pg_stat_|pg_current_|pg_last_|pg_control_|pg_(is|get)_wal_replay_)')
            OR proname IN ('nextval', 'setval', 'currval', 'lastval', 'pg_notify', 'txid_status',
                'pg_xact_status', 'pg_sequence_last_value', 'pg_blocking_pids', 'pg_lock_status',
                'pg_logical_emit_message', 'pg_cancel_backend', 'pg_terminate_backend',
                'tsvector_update_trigger', 'tsvector_update_trigger_column',
                'suppress_redundant_updates_trigger', 'unique_key_recheck') THEN 8
        ELSE 10 END
        -- 256: what a replica does, silently, on itself alone
        | CASE WHEN proname ~ ('^(pg_(try_)?advisory_|pg_(cancel|terminate)_backend$|pg_promote$'
            || '|pg_reload_conf$|lo_export$|pg_copy_|pg_create_|pg_drop_replication_|pg_log_backend_'
            || '|pg_logical_slot_get_|pg_rotate_logfile|pg_stat_reset|pg_wal_replay_)') THEN 264
        ELSE 0 END AS flags
    FROM pg_proc
    WHERE oid < 16384 AND (provolatile = 'v'
            OR proname ~ '_to_xml|^pg_stat_get_|^to_reg|^pg_.*_is_visible$|^reg.*(in|recv)$'
            OR proname IN ('regclass', 'ts_rewrite', 'txid_current', 'txid_current_if_assigned',
                'txid_current_snapshot', 'pg_current_xact_id', 'pg_current_xact_id_if_assigned',
                'pg_current_snapshot', 'pg_backend_pid', 'inet_server_addr', 'inet_server_port',
                'pg_postmaster_start_time', 'pg_conf_load_time', 'pg_my_temp_schema',
                'pg_is_other_temp_schema', 'pg_listening_channels', 'pg_cursor',
                'pg_prepared_statement', 'pg_get_replication_slots', 'pg_is_in_recovery',
                'pg_show_all_settings', 'pg_walfile_name', 'pg_walfile_name_offset'))
        AND proname NOT IN ('random', 'random_normal', 'array_shuffle', 'array_sample',
            'clock_timestamp', 'timeofday', 'gen_random_uuid', 'uuidv4', 'uuidv7', 'pg_sleep',
            'pg_sleep_for', 'pg_sleep_until', 'current_query', 'pg_relation_size',
            'pg_table_size', 'pg_total_relation_size', 'pg_indexes_size', 'pg_database_size',
            'pg_tablespace_size', 'pg_partition_tree', 'pg_partition_ancestors',
            'pg_collation_actual_version', 'pg_jit_available', 'amvalidate', 'bernoulli', 'system')
),
member AS MATERIALIZED (
    SELECT objid AS oid, extname FROM pg_depend JOIN pg_extension e ON e.oid = refobjid
    WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e'
),
-- What is not PostgreSQL's own. is_installed: only a superuser can have made it, in C.
func AS MATERIALIZED (
    SELECT p.oid, proname, prokind, provolatile, lanname, lanpltrusted, extname, proargnames,
        lanname IN ('c', 'internal') AND m.oid IS NOT NULL
            OR lanname = 'internal' AND prosrc ~ '^(multi)?range_constructor[0-3]$' AS is_installed,
        lower(prosrc COLLATE "C") AS body
    FROM pg_proc p JOIN pg_language l ON l.oid = prolang LEFT JOIN member m ON m.oid = p.oid
    WHERE p.oid >= 16384
),
-- A body is opaque when it computes names of settings, runs what it is given, or asks for what no
-- question of ours finds; so is a language whose interpreter keeps what it likes.
func_flags AS MATERIALIZED (
    SELECT oid, proname, body, lanname, CASE
        WHEN prokind = 'a' THEN 0 -- it is what its transition functions are
        WHEN is_installed THEN CASE
            WHEN extname = 'dblink' THEN 282 | CASE WHEN proname ~ '^dblink_connect' THEN 32 ELSE 0 END
            WHEN proname ~ '^(crosstab|connectby|xpath_table|pgr_)' THEN 10 -- they run SQL
            WHEN extname = 'isn' AND proname = 'isn_weak' THEN 42
            WHEN provolatile <> 'v' OR extname IN ('uuid-ossp', 'pgcrypto')
                OR proname = 'pg_stat_statements' THEN 0
            ELSE 10 END
        -- what it runs a replica may refuse, and who catches that tells nobody
        ELSE 2 | CASE WHEN provolatile = 'v' OR body ~ '\mexception\s+when\M' AND body ~ ('\m(insert|update'
            || '|delete|merge|truncate|copy|create|drop|alter|lock|notify|call|execute|perform|select|nextval)\M')
            THEN 8 ELSE 0 END
        | CASE WHEN body ~ ('\m(pg_(try_)?advisory_|pg_(cancel|terminate)_backend|pg_promote|dblink'
            || '|pg_reload_conf|lo_export|pg_copy_|pg_create_|pg_drop_replication_|pg_log_backend_'
            || '|pg_logical_slot_get_|pg_rotate_logfile|pg_stat_reset|pg_wal_replay_)') THEN 264
        ELSE 0 END
        | CASE
            WHEN NOT lanpltrusted THEN 48
            WHEN lanname NOT IN ('sql', 'plpgsql') THEN 32
            WHEN body LIKE '%load%' AND body ~ '\mload\s+''' OR body LIKE '%temp_buffers%'
                OR body LIKE '%replication_origin_session_setup%' OR body LIKE '%replication_slot%'
                OR body LIKE '%seed%'
                    AND body ~ '\msetseed\M|''seed''|\mset\s+((session|local)\s+)?seed\M'
                THEN 32
            WHEN body LIKE '%set_config%' AND regexp_replace(body,
                '\mset_config\s*\(\s*''[a-z0-9_$.]*''\s*(::\s*text\s*)?,', '', 'g')
                LIKE '%set_config%' THEN 32
            WHEN body LIKE '%execute%'
                AND (body ~ '[''"$;]\s*(re)?set(\s+(session\s+)?[a-z0-9_.]*)?[''%"$]'
                OR EXISTS (SELECT FROM regexp_matches(body, '\mexecute\s+([a-z_$][a-z0-9_$]*)', 'g') x
                           WHERE x[1] ~ '^\$' OR x[1] = ANY (proargnames))) THEN 32
            ELSE 0 END END
        | CASE WHEN extname IN ('postgres_fdw', 'file_fdw', 'adminpack', 'http', 'pg_net',
            'pg_cron', 'pg_background', 'aws_s3', 'aws_lambda', 'oracle_fdw', 'mysql_fdw',
            'tds_fdw', 'redis_fdw', 'pg_amqp') THEN 16 ELSE 0 END AS flags
    FROM func
),
-- Expressions as the catalogs keep them: whose, and when they run. Those of indexes and partitions
-- call nothing of PostgreSQL's own that matters, as they have to be immutable.
tree AS MATERIALIZED (
    SELECT ev_class::int8 AS src, CASE WHEN ev_type = '1' AND relkind = 'v' THEN 'r' ELSE 'w' END
        AS mode, ev_action::text || '' AS text, -- decompressed once
        relkind IN ('v', 'm') AS is_view
    FROM pg_rewrite JOIN pg_class c ON c.oid = ev_class WHERE ev_class >= 16384
    UNION ALL SELECT adrelid::int8, 'w', adbin::text, false FROM pg_attrdef WHERE adrelid >= 16384
    UNION ALL SELECT oid::int8 + 4294967296, 'r', concat(prosqlbody::text, proargdefaults::text), false
    FROM pg_proc WHERE oid >= 16384 AND (prosqlbody IS NOT NULL OR proargdefaults IS NOT NULL)
    UNION ALL SELECT CASE contypid WHEN 0 THEN conrelid::int8 ELSE contypid::int8 + 8589934592 END,
        CASE contypid WHEN 0 THEN 'w' ELSE 'r' END, conbin::text, false
    FROM pg_constraint WHERE conbin IS NOT NULL AND oid >= 16384
    UNION ALL SELECT polrelid::int8, CASE polcmd WHEN 'a' THEN 'w' ELSE 'r' END,
        concat(polqual::text, polwithcheck::text), false
    FROM pg_policy JOIN pg_class c ON c.oid = polrelid WHERE relrowsecurity
    UNION ALL SELECT tgrelid::int8, 'w', tgqual::text, false FROM pg_trigger WHERE tgqual IS NOT NULL
    UNION ALL SELECT oid::int8 + 8589934592, 'r', typdefaultbin::text, false FROM pg_type
    WHERE typdefaultbin IS NOT NULL AND oid >= 16384
),
-- Types, but for those of tables' rows that nothing is made of.
used AS MATERIALIZED (
    SELECT DISTINCT refobjid AS oid FROM pg_depend
    WHERE refclassid = 'pg_type'::regclass AND refobjid >= 16384 AND deptype = 'n'
),
type AS MATERIALIZED (
    SELECT t.oid, t.typname, t.typrelid FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem
        LEFT JOIN pg_class c ON c.oid = greatest(t.typrelid, e.typrelid)
    WHERE t.oid >= 16384 AND (coalesce(c.relkind, 'c') = 'c'
        OR t.oid IN (SELECT oid FROM used) OR t.typarray IN (SELECT oid FROM used))
),
-- Which of pg_depend's dependents stand for what they belong to.
owner AS MATERIALIZED (
    SELECT 'pg_rewrite'::regclass AS class, r.oid, ev_class::int8 AS src,
        CASE WHEN ev_type = '1' AND relkind = 'v' THEN 'r' ELSE 'w' END AS mode,
        relkind <> 'm' AS writes
    FROM pg_rewrite r JOIN pg_class c ON c.oid = ev_class WHERE ev_class >= 16384
    UNION ALL SELECT 'pg_attrdef'::regclass, oid, adrelid::int8, 'w', false FROM pg_attrdef
    WHERE adrelid >= 16384
    UNION ALL SELECT 'pg_constraint'::regclass, oid,
        CASE contypid WHEN 0 THEN conrelid::int8 ELSE contypid::int8 + 8589934592 END,
        CASE contypid WHEN 0 THEN 'w' ELSE 'r' END, false FROM pg_constraint
    WHERE oid >= 16384 AND contype IN ('c', 'x', 'n')
    UNION ALL SELECT 'pg_policy'::regclass, p.oid, polrelid::int8,
        CASE polcmd WHEN 'a' THEN 'w' ELSE 'r' END, false
    FROM pg_policy p JOIN pg_class c ON c.oid = polrelid WHERE relrowsecurity
    UNION ALL SELECT 'pg_trigger'::regclass, oid, tgrelid::int8, 'w', false FROM pg_trigger
    WHERE tgenabled <> 'D' AND (tgfoid >= 16384 OR tgqual IS NOT NULL)
    UNION ALL SELECT 'pg_class'::regclass, indexrelid, indrelid::int8, 'w', false FROM pg_index
    WHERE indrelid >= 16384 AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
    UNION ALL SELECT 'pg_class'::regclass, oid, oid::int8, 'w', false FROM pg_class
    WHERE oid >= 16384 AND relkind IN ('r', 'p', 'f')
    UNION ALL SELECT 'pg_class'::regclass, typrelid, oid::int8 + 8589934592, 'r', false FROM type
    WHERE typrelid <> 0
    UNION ALL SELECT 'pg_type'::regclass, oid, oid::int8 + 8589934592, 'r', false FROM type
    WHERE typrelid = 0
    UNION ALL SELECT 'pg_proc'::regclass, oid, oid::int8 + 4294967296, 'r', false FROM func
),
needs AS MATERIALIZED (
    SELECT DISTINCT src, mode, writes, classid, refclassid, refobjid,
        refobjid::int8 + 4294967296 * CASE refclassid WHEN 'pg_class'::regclass THEN 0
            WHEN 'pg_proc'::regclass THEN 1 WHEN 'pg_type'::regclass THEN 2 ELSE 3 END AS dst
    FROM pg_depend JOIN owner o ON class = classid AND o.oid = objid
    WHERE refclassid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass,
            'pg_operator'::regclass) AND deptype IN ('n', 'a', 'i') AND objid >= 16384
        AND NOT (refclassid = 'pg_class'::regclass AND (refobjid::int8 = src OR classid IN
            ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass)))
),
-- What sorts, hashes, indexes and shows values of a type: no text names it. Classes of operators are
-- known by their families, types by another number than what a cast to them runs; those of
-- PostgreSQL's own count where a user's class is their default.
sorted AS MATERIALIZED (
    SELECT oid, opcfamily, opcintype, opcdefault FROM pg_opclass WHERE oid >= 16384
),
handled AS MATERIALIZED (
    SELECT opcfamily::int8 + 21474836480 AS src, f::int8 AS dst FROM (
        SELECT amprocfamily AS opcfamily, amproc::int8 + 4294967296 AS f, amproc AS oid FROM pg_amproc
        UNION ALL SELECT amopfamily, amopopr::int8 + 12884901888, amopopr FROM pg_amop) x
    WHERE x.oid >= 16384
    UNION ALL SELECT t::int8 + 17179869184, f FROM (
        SELECT unnest(ARRAY[amproclefttype, amprocrighttype]) AS t, amproc::int8 + 4294967296 AS f, amproc AS oid
        FROM pg_amproc
        UNION ALL SELECT unnest(ARRAY[amoplefttype, amoprighttype]), amopopr::int8 + 12884901888, amopopr
        FROM pg_amop) x
    WHERE x.oid >= 16384 AND t >= 16384
    UNION ALL SELECT opcintype::int8 + 17179869184, opcfamily::int8 + 21474836480 FROM sorted WHERE opcdefault
    UNION ALL SELECT amopopr::int8 + 12884901888, amopfamily::int8 + 21474836480 FROM pg_amop
    WHERE amopopr >= 16384 AND amopfamily >= 16384
),
edge AS MATERIALIZED (
    SELECT src, mode, dst FROM needs
    UNION ALL SELECT src, 's', dst FROM handled
    UNION ALL SELECT t.oid::int8 + 8589934592, 'r', t.oid::int8 + 17179869184 FROM type t
    UNION ALL SELECT src + 8589934592, 's', dst + CASE refclassid WHEN 'pg_type'::regclass THEN 8589934592 ELSE 0 END
    FROM needs LEFT JOIN pg_type t ON t.oid::int8 + 8589934592 = src
    WHERE src BETWEEN 8589934592 AND 12884901887 AND classid IN ('pg_type'::regclass, 'pg_class'::regclass)
        AND (refclassid = 'pg_type'::regclass OR refclassid = 'pg_proc'::regclass AND typtype <> 'd')
    UNION ALL SELECT CASE WHEN d.classid = 'pg_type'::regclass THEN d.objid::int8 + 17179869184
            ELSE coalesce(indrelid, d.objid)::int8 END, m, opcfamily::int8 + 21474836480
    FROM pg_depend d JOIN sorted o ON d.refclassid = 'pg_opclass'::regclass AND d.refobjid = o.oid
        LEFT JOIN pg_index ON d.classid = 'pg_class'::regclass AND indexrelid = d.objid,
        unnest(ARRAY['r', 'w']) m
    WHERE d.classid IN ('pg_type'::regclass, 'pg_class'::regclass)
    UNION ALL SELECT objid::int8, m, refobjid::int8 + 17179869184 FROM pg_depend, unnest(ARRAY['r', 'w']) m
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_type'::regclass AND objid >= 16384 AND deptype = 'n'
    UNION ALL SELECT attrelid::int8, m, atttypid::int8 + 17179869184 FROM pg_attribute, unnest(ARRAY['r', 'w']) m
    WHERE EXISTS (SELECT FROM sorted WHERE opcdefault AND opcintype < 16384) AND attrelid >= 16384
        AND atttypid IN (SELECT opcintype FROM sorted WHERE opcdefault AND opcintype < 16384)
    UNION ALL SELECT p.oid::int8 + 4294967296, 'r', opcintype::int8 + 17179869184 FROM sorted JOIN pg_proc p
        ON prorettype = opcintype WHERE opcdefault AND opcintype < 16384
    UNION ALL SELECT opcintype::int8 + 8589934592, 'r', opcintype::int8 + 17179869184 FROM sorted
    WHERE opcdefault AND opcintype < 16384
    UNION ALL SELECT src, 'w', dst FROM needs WHERE mode = 'r' AND src < 4294967296
    UNION ALL SELECT src, 'c', dst FROM needs WHERE writes AND refclassid = 'pg_class'::regclass
    -- the bounds of a partition's ancestors
    UNION ALL SELECT oid::int8, 'w', dst FROM pg_class, pg_partition_ancestors(oid) a
        JOIN needs ON src = a::oid::int8
    WHERE relispartition AND relkind IN ('r', 'p', 'f') AND mode = 'w' AND a::oid <> oid
        AND dst BETWEEN 4294967296 AND 8589934591
        AND a::oid IN (SELECT partrelid FROM pg_partitioned_table WHERE partexprs IS NOT NULL)
    -- columns of a type that is cast to another where it is needed, without a word in the text
    UNION ALL SELECT src, 'r', dst FROM needs JOIN pg_cast c ON castsource = refobjid
    WHERE refclassid = 'pg_type'::regclass AND c.oid >= 16384
    -- what PostgreSQL brought along
    UNION ALL SELECT src, m, b.oid::int8 + 4294967296
    FROM (SELECT DISTINCT src, mode, split_part(x, ' ', 1) AS f FROM tree,
            unnest(string_to_array(text, ':funcid ')) WITH ORDINALITY u(x, n) WHERE n > 1) t
        JOIN builtin b ON b.oid::text = f AND (mode = 'r' OR flags & 2 <> 0),
        unnest(CASE WHEN mode = 'r' AND src < 4294967296 THEN ARRAY['r', 'w'] ELSE ARRAY[mode] END) m
    UNION ALL SELECT tgrelid::int8, 'w', tgfoid::int8 + 4294967296 FROM pg_trigger
    WHERE tgfoid IN (SELECT oid FROM builtin WHERE flags & 2 <> 0)
    UNION ALL SELECT oid::int8 + 12884901888, 'r', oprcode::int8 + 4294967296 FROM pg_operator
    WHERE oid >= 16384
    UNION ALL SELECT aggfnoid::int8 + 4294967296, 'r', f::int8 + 4294967296 FROM pg_aggregate,
        unnest(ARRAY[aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn,
            aggminvtransfn, aggmfinalfn]::oid[]) f WHERE aggfnoid >= 16384 AND f <> 0
    UNION ALL SELECT t::int8 + 8589934592, 'r', castfunc::int8 + 4294967296 FROM pg_cast,
        unnest(ARRAY[castsource, casttarget]) t WHERE oid >= 16384 AND castfunc <> 0
    -- children, and what a foreign key writes
    UNION ALL SELECT inhparent::int8, m, inhrelid::int8 FROM pg_inherits, unnest(ARRAY['r', 'c']) m
    UNION ALL SELECT confrelid::int8, 'c', conrelid::int8 FROM pg_constraint
    WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
),
base AS (
    SELECT oid::int8 + 4294967296 AS node, flags FROM func_flags
    UNION ALL SELECT oid::int8 + 4294967296, flags FROM builtin
    -- postgres_fdw's connections are reset, file_fdw has none
    UNION ALL SELECT ftrelid::int8, CASE extname WHEN 'file_fdw' THEN 28 WHEN 'postgres_fdw' THEN 30 ELSE 158 END
    FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver
        JOIN pg_foreign_data_wrapper w ON w.oid = srvfdw LEFT JOIN member m ON m.oid = fdwhandler
    UNION ALL SELECT oid::int8, 8 FROM pg_class
    WHERE oid >= 16384 AND (relkind = 'S' OR relkind IN ('r', 'p') AND relpersistence <> 'p')
    UNION ALL SELECT ev_class::int8, 4 FROM pg_rewrite WHERE ev_class >= 16384 AND ev_type <> '1'
    -- views over PostgreSQL's own: a node's answer, and pg_settings may be written
    UNION ALL SELECT src, CASE mode WHEN 'r' THEN 12 ELSE 4 END
    FROM tree, unnest(string_to_array(text, ':relid ')) WITH ORDINALITY u(x, n)
    WHERE is_view AND n > 1 AND strpos(x, ' ') < 7 AND split_part(x, ' ', 1)::int8 BETWEEN 1 AND 16383
),
-- Where a session looks for an operator that is written without a schema, unless it has set a
-- search_path of its own: what anybody's may begin with, and "$user". Where nothing tells: anywhere.
path AS MATERIALIZED (
    SELECT oid FROM pg_namespace WHERE nspname IN (SELECT rolname FROM pg_roles)
        OR nspname = 'pg_catalog' OR nspname ~ '"' OR EXISTS (
            SELECT FROM (SELECT current_setting('switchgear.search_path', true)
                UNION ALL SELECT x FROM pg_db_role_setting, unnest(setconfig) x
                WHERE lower(x) LIKE 'search_path=%') p(list)
            WHERE list IS NULL OR strpos(lower(list), lower(nspname)) > 0)
),
named AS MATERIALIZED (
    SELECT 0 AS kind, oid::int8 AS node, relname::text AS name FROM pg_class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND oid >= 16384
    UNION ALL SELECT 1, oid::int8 + 4294967296, proname FROM func
    UNION ALL SELECT 2, oid::int8 + 8589934592, typname FROM type
    UNION ALL SELECT 2, oid::int8 + 8589934592, typname FROM pg_type
    WHERE oid < 16384 AND (oid IN (SELECT casttarget FROM pg_cast WHERE oid >= 16384)
        OR oid IN (SELECT opcintype FROM sorted WHERE opcdefault))
    UNION ALL SELECT 1, p.oid::int8 + 4294967296, proname FROM sorted JOIN pg_proc p ON prorettype = opcintype
    WHERE opcdefault AND p.oid < 16384
    UNION ALL SELECT CASE WHEN oprnamespace IN (SELECT oid FROM path) THEN 3 ELSE 5 END,
        oid::int8 + 12884901888, oprname FROM pg_operator WHERE oid >= 16384
),
-- Which bodies mention which names, in time that grows with their size alone: equal ones are read
-- once, and each as words. A name is found by its first word, and is looked for then if it has more.
word AS MATERIALIZED (
    SELECT DISTINCT body, w FROM (SELECT DISTINCT body FROM func_flags WHERE flags & 2 <> 0) b,
        regexp_split_to_table(body || ' ', '[^a-z0-9_\u0080-\U0010ffff]+') w
    WHERE EXISTS (SELECT FROM func_flags WHERE flags & 304 <> 0)
        OR EXISTS (SELECT FROM pg_class WHERE relkind = 'f')
        OR EXISTS (SELECT FROM edge JOIN builtin ON dst = oid::int8 + 4294967296 WHERE flags & 288 <> 0)
),
name AS MATERIALIZED (
    SELECT n, coalesce(substring(n, '[a-z0-9_\u0080-\U0010ffff]+'), '') AS first,
        min(node) + 25769803776 AS node, array_agg(node) AS nodes
    FROM named, lower(name COLLATE "C") n WHERE kind < 2
        OR node IN (SELECT oid::int8 + 8589934592 FROM pg_type WHERE typtype = 'd')
        OR node IN (SELECT o.oid::int8 + 12884901888 FROM pg_operator o
            JOIN func_flags f ON f.oid = oprcode WHERE f.flags & 2 <> 0 AND lanname NOT IN ('c', 'internal'))
    GROUP BY n
),
mention AS MATERIALIZED (
    SELECT DISTINCT name.node AS dst, f.oid::int8 + 4294967296 AS src
    FROM name JOIN word ON w = first AND (n = first OR strpos(body, n) > 0)
        JOIN func_flags f USING (body) WHERE f.flags & 2 <> 0
),
needed AS MATERIALIZED (
    SELECT dst, array_agg(src) AS srcs, array_agg(mode) AS modes FROM (
        SELECT src, mode, dst FROM edge UNION ALL SELECT src, 'm', dst FROM mention
        UNION ALL SELECT name.node, 'n', o FROM name, unnest(nodes) o) e
    GROUP BY dst
),
-- A node with what is true of it, until nothing new is found.
closure AS (
    SELECT node, flags FROM base WHERE flags <> 0
    UNION
    SELECT x.node, x.flags
    FROM closure k JOIN needed ON dst = k.node
        CROSS JOIN LATERAL (
            SELECT src, CASE mode WHEN 'r' THEN k.flags & 442
                WHEN 'w' THEN (k.flags & 34) * 2 | (k.flags & 16) | (k.flags & 128) / 2
                WHEN 's' THEN (k.flags & 442) | (k.flags & 2) * 4 -- on the primary
                WHEN 'n' THEN k.flags & 496
                WHEN 'm' THEN (k.flags & 400) | CASE WHEN k.flags & 96 <> 0 THEN 32 ELSE 0 END
                ELSE k.flags & 196 END
            FROM unnest(srcs, modes) AS u(src, mode)
        ) x(node, flags)
    WHERE x.flags <> 0
)
SELECT kind, name, bit_or(coalesce(flags & 255 | (flags & 256) / 32, 0) | 1) FROM named
    LEFT JOIN (SELECT node, bit_or(flags) AS flags FROM closure GROUP BY node) c USING (node)
GROUP BY kind, name
-- what runs with any DDL
UNION ALL SELECT 4, 'event triggers', bit_or(flags) & 50 | 1 FROM pg_event_trigger
    JOIN closure ON node = evtfoid::int8 + 4294967296 WHERE evtenabled <> 'D' HAVING count(*) > 0
UNION ALL SELECT 4, s, 1 FROM (VALUES ('default_transaction_isolation')) v(s)
WHERE current_setting(s) <> 'read committed' OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) x
    WHERE lower(split_part(x, '=', 1)) = s AND lower(split_part(x, '=', 2)) NOT LIKE 'read %committed')
UNION ALL SELECT 4, 'search_path', 1 WHERE EXISTS (SELECT FROM pg_settings WHERE name = 'search_path'
    AND reset_val ILIKE '%pg\_temp%') OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) x
    WHERE x ILIKE 'search\_path=%pg\_temp%')
UNION ALL SELECT DISTINCT 6, name, 0 FROM (
    SELECT m[1] AS name FROM func_flags, regexp_matches(body,
        '(?:set_config|current_setting)\s*\(\s*''([^'']*)''', 'g') m
    WHERE body LIKE '%set_config%' OR body LIKE '%current_setting%'
    UNION ALL SELECT m[1] FROM func_flags, regexp_matches(body,
        '\mset\s+(?:session\s+|local\s+)?([a-z0-9_$.]+)\s*(?:=|\mto\M)', 'g') m
    WHERE body ~ '\mset\s+(session\s+|local\s+)?[a-z_]+\.'
    UNION ALL SELECT lower(split_part(s, '=', 1)) FROM pg_proc, unnest(proconfig) s
    WHERE proconfig IS NOT NULL
    UNION ALL SELECT lower(split_part(s, '=', 1)) FROM pg_db_role_setting, unnest(setconfig) s
) s WHERE name ~ '^[a-z_][a-z0-9_$]*(\.[a-z_][a-z0-9_$]*)+$'
