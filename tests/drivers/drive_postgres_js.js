// SPDX-License-Identifier: PostgreSQL
// The features of the driver matrix through postgres.js; the connection comes from libpq's variables.
'use strict';
const {pipeline} = require('stream/promises');
const {Readable} = require('stream');
const postgres = require('postgres');
const {TABLE, BIG, READS, WRITES, TIMES, KEPT, ssl, expect, expectError, expectSplit,
       features, sleep} = require('./drive.js');

// One connection, as the others have it; its own default is a pool of ten.
async function connected(body, parameters) {
    const sql = postgres({ssl, max: 1, onnotice: () => {}, ...parameters});
    try {
        return await body(sql, sql(TABLE));
    } finally {
        await sql.end({timeout: 5});
    }
}

async function expectState(query, state) {
    expect((await expectError(query)).code, state);
}

features('postgres.js ' + require('./node_modules/postgres/package.json').version, {
    connect: async () => {
        await connected(async (sql) => {
            expect(await sql`select 1 as one`, [{one: 1}]);
        });
        await expectState(connected((sql) => sql`select 1`, {password: 'wrong'}), '28P01');
    },

    autocommit: () => connected(async (sql, table) => {
        await sql`insert into ${table} values (1, 'one')`;
        expect(await sql`select v from ${table} where id = ${1}`, [{v: 'one'}]);
        expect((await sql`delete from ${table} where id = ${1}`).count, 1);
        expect(await sql`select * from ${table}`, []);
    }),

    transactions: () => connected(async (sql, table) => {
        await sql.begin((t) => t`insert into ${table} values (10, 'kept')`);
        await expectError(sql.begin(async (t) => {
            await t`insert into ${table} values (11, 'dropped')`;
            throw new Error('dropped');
        }));
        await sql.begin(async (t) => {
            await t`insert into ${table} values (12, 'kept')`;
            await expectError(t.savepoint(async (s) => {
                await s`insert into ${table} values (13, 'dropped')`;
                throw new Error('dropped');
            }));
            await t`insert into ${table} values (14, 'kept')`;
        });
        const rows = await sql`select id from ${table} where id between 10 and 19 order by id`;
        expect(rows.map((row) => row.id), KEPT);
        let fetched = 0;
        await sql`select generate_series(1, 500) as n`.cursor(50, (rows) => {
            fetched += rows.length;
        });
        expect(fetched, 500);
        expect(await sql.begin('read only', (t) => t`select 1 as one`), [{one: 1}]);
    }),

    // It names and keeps every statement.
    prepared: () => connected(async (sql, table) => {
        for (let i = 0; i < TIMES; i++) {
            expect(await sql`select ${i}::int + 1 as n`, [{n: i + 1}]);
            await sql`insert into ${table} values (${100 + i}, ${'prepared'})`;
            if (i % 10 === 0)
                await sql.begin(async (t) => {
                    expect(await t`select ${i}::int + 1 as n`, [{n: i + 1}]);
                });
        }
        expect(await sql`select count(*)::int from ${table} where v = 'prepared'`, [{count: TIMES}]);
    }),

    // Queries that are not awaited go out together.
    pipeline: () => connected(async (sql, table) => {
        const inserts = [];
        for (let i = 0; i < 600; i++)
            inserts.push(sql`insert into ${table} values (${1000 + i}, 'batch')`);
        await Promise.all(inserts);
        const mixed = [sql`insert into ${table} values (2000, 'batch')`,
                       sql`insert into ${table} values (1000, 'batch')`,
                       sql`insert into ${table} values (2001, 'batch')`];
        const results = await Promise.allSettled(mixed);
        expect(results.map((r) => r.status), ['fulfilled', 'rejected', 'fulfilled']);
        expect(await sql`select count(*)::int from ${table} where v = 'batch'`, [{count: 602}]);
        const many = await sql`select 1 as a; select 2 as b`.simple();
        expect(many, [[{a: 1}], [{b: 2}]]);
    }),

    copy: () => connected(async (sql, table) => {
        const lines = Array.from({length: 5000}, (_, i) => `${10000 + i}\tcopied\n`);
        await pipeline(Readable.from(lines), await sql`copy ${table} from stdin`.writable());
        let out = ''; // less than 16 KiB: it may pause its socket for ever beyond that
        for await (const chunk of await sql`copy (select * from ${table} where v = 'copied' order by id
                                            limit 1000) to stdout`.readable())
            out += chunk;
        expect(out === lines.slice(0, 1000).join(''), true);
        const bad = pipeline(Readable.from(['no number\tx\n']),
                             await sql`copy ${table} from stdin`.writable());
        expect((await expectError(bad)).code, '22P02');
        expect(await sql`select 1 as one`, [{one: 1}]);
    }),

    cancel: () => connected(async (sql) => {
        for (let i = 0; i < 3; i++) {
            const query = sql`select pg_sleep(30)`;
            const failed = expectError(query);
            await sleep(300);
            query.cancel();
            expect((await failed).code, '57014');
            expect(await sql`select 1 as one`, [{one: 1}]);
        }
    }),

    notify: () => connected(async (sql) => {
        let listening;
        const heard = new Promise((resolve, reject) => {
            listening = sql.listen(TABLE, resolve);
            setTimeout(() => reject(new Error('nothing heard')), 10000);
        });
        await listening;
        await sql.notify(TABLE, 'hello');
        expect(await heard, 'hello');
        await (await listening).unlisten();
    }),

    large: () => connected(async (sql, table) => {
        await sql`insert into ${table} values (50000, ${BIG})`;
        expect((await sql`select v from ${table} where id = 50000`)[0].v === BIG, true);
    }),

    errors: () => connected(async (sql, table) => {
        await expectState(sql`selec 1`, '42601');
        await expectState(sql`select * from no_such_table where a = ${1}`, '42P01');
        await expectState(sql`insert into ${table} values (10, 'again')`, '23505');
        expect(await sql`select 1 as one`, [{one: 1}]);
        await expectState(sql.begin(async (t) => { // it rejects with the first error of the block
            await expectState(t`select 1/${0}::int`, '22012');
            await expectState(t`select 1`, '25P02');
        }), '22012');
        expect(await sql`select 1 as one`, [{one: 1}]);
    }),

    // It connects again by itself when the next query comes.
    reconnect: () => connected(async (sql) => {
        await expectError(sql.begin((t) =>
            expectState(t`select pg_terminate_backend(pg_backend_pid())`, '57P01')));
        for (let i = 0; i < 5; i++)
            expect(await sql`select ${i}::int as n`, [{n: i}]);
    }),

    split: () => connected(async (sql, table) => {
        const roles = [];
        for (let i = 0; i < READS; i++) {
            await sql`select count(*) from ${table} where id > ${0}`;
            roles.push((await sql`show switchgear.last_route`)[0].role);
        }
        expectSplit(roles);
        expect(await sql`insert into ${table} values (60000, 'x') returning pg_is_in_recovery() as r`,
               [{r: false}]);
    }),

    read_your_writes: () => connected(async (sql, table) => {
        await sql`insert into ${table} values (70000, '-1')`;
        for (let i = 0; i < WRITES; i++) {
            await sql`update ${table} set v = ${String(i)} where id = 70000`;
            expect(await sql`select v from ${table} where id = ${70000}`, [{v: String(i)}]);
        }
    }),
});
