// SPDX-License-Identifier: PostgreSQL
// The features of the driver matrix through node-postgres; the connection comes from libpq's variables.
'use strict';
const {pipeline} = require('stream/promises');
const {Readable} = require('stream');
const pg = require('pg');
const Cursor = require('pg-cursor');
const copy = require('pg-copy-streams');
const {TABLE, BIG, READS, WRITES, TIMES, KEPT, ssl, expect, expectError, expectSplit,
       features, sleep} = require('./drive.js');

async function connected(body, parameters) {
    const client = new pg.Client({ssl, ...parameters});
    client.on('error', () => {}); // an idle connection that ends; the queries say so too
    await client.connect();
    try {
        return await body(client);
    } finally {
        await client.end().catch(() => {});
    }
}

async function ask(client, text, values) {
    return (await client.query({text, values, rowMode: 'array'})).rows;
}

async function expectState(client, state, text, values) {
    expect((await expectError(ask(client, text, values))).code, state);
}

const count = async (client, v) =>
    Number((await ask(client, `select count(*) from ${TABLE} where v = $1`, [v]))[0][0]);

features('node-postgres ' + require('pg/package.json').version, {
    connect: async () => {
        await connected(async (c) => {
            expect(await ask(c, 'select 1'), [[1]]);
            expect(Boolean(c.connection.stream.encrypted), Boolean(ssl));
        });
        const wrong = await expectError(connected(() => {}, {password: 'wrong'}));
        expect(wrong.code, '28P01');
    },

    autocommit: () => connected(async (c) => {
        await ask(c, `insert into ${TABLE} values ($1, $2)`, [1, 'one']);
        expect(await ask(c, `select v from ${TABLE} where id = $1`, [1]), [['one']]);
        expect((await c.query(`delete from ${TABLE}`)).rowCount, 1);
        expect(await ask(c, `select * from ${TABLE}`), []);
    }),

    transactions: () => connected(async (c) => {
        const put = (id, v) => ask(c, `insert into ${TABLE} values ($1, $2)`, [id, v]);
        await ask(c, 'begin');
        await put(10, 'kept');
        await ask(c, 'commit');
        await ask(c, 'begin');
        await put(11, 'dropped');
        await ask(c, 'rollback');
        await ask(c, 'begin');
        await put(12, 'kept');
        await ask(c, 'savepoint s');
        await put(13, 'dropped');
        await ask(c, 'rollback to s');
        await put(14, 'kept');
        await ask(c, 'commit');
        const rows = await ask(c, `select id from ${TABLE} where id between 10 and 19 order by id`);
        expect(rows.map((row) => row[0]), KEPT);
        await ask(c, 'begin');
        const cursor = c.query(new Cursor('select generate_series(1, 500)')); // a portal, in pieces
        let fetched = 0;
        for (let rows; (rows = await cursor.read(50)).length > 0;)
            fetched += rows.length;
        await cursor.close();
        await ask(c, 'commit');
        expect(fetched, 500);
    }),

    prepared: () => connected(async (c) => {
        for (let i = 0; i < TIMES; i++) {
            if (i % 10 === 0)
                await ask(c, 'begin');
            const plus = await c.query({name: 'plus', text: 'select $1::int + 1 as n', values: [i]});
            expect(plus.rows, [{n: i + 1}]);
            await c.query({name: 'put', text: `insert into ${TABLE} values ($1, $2)`,
                           values: [100 + i, 'prepared']});
            if (i % 10 === 0)
                await ask(c, 'commit');
        }
        expect(await count(c, 'prepared'), TIMES);
    }),

    // It queues, and sends one at a time; a string may hold many statements.
    pipeline: () => connected(async (c) => {
        const inserts = [];
        for (let i = 0; i < 300; i++)
            inserts.push(ask(c, `insert into ${TABLE} values ($1, 'batch')`, [1000 + i]));
        await Promise.all(inserts);
        const many = await c.query(`insert into ${TABLE} values (1300, 'batch'); select 1 as one; ` +
                                   `insert into ${TABLE} values (1301, 'batch')`);
        expect(many.map((result) => result.command), ['INSERT', 'SELECT', 'INSERT']);
        await expectError(c.query(`insert into ${TABLE} values (1302, 'batch'); select 1/0`));
        expect(await count(c, 'batch'), 302);
    }),

    copy: () => connected(async (c) => {
        const lines = Array.from({length: 5000}, (_, i) => `${10000 + i}\tcopied\n`);
        await pipeline(Readable.from(lines), c.query(copy.from(`copy ${TABLE} from stdin`)));
        let out = '';
        const stream = c.query(copy.to(`copy (select * from ${TABLE} where v = 'copied' order by id) ` +
                                       'to stdout'));
        for await (const chunk of stream)
            out += chunk;
        expect(out === lines.join(''), true);
        const bad = pipeline(Readable.from(['no number\tx\n']),
                             c.query(copy.from(`copy ${TABLE} from stdin`)));
        expect((await expectError(bad)).code, '22P02');
        expect(await ask(c, 'select 1'), [[1]]);
    }),

    cancel: () => connected(async (c) => {
        for (let i = 0; i < 3; i++) {
            const query = new pg.Query('select pg_sleep(30)');
            const failed = expectError(new Promise((resolve, reject) => {
                query.on('end', resolve);
                query.on('error', reject);
            }));
            c.query(query);
            await sleep(300);
            new pg.Client({ssl: false}).cancel(c, query); // it knows no TLS for this
            expect((await failed).code, '57014');
            expect(await ask(c, 'select 1'), [[1]]);
        }
    }),

    notify: () => connected((c) => connected(async (other) => {
        const heard = new Promise((resolve, reject) => {
            c.on('notification', (message) => resolve(message.payload));
            setTimeout(() => reject(new Error('nothing heard')), 10000);
        });
        await ask(c, `listen ${TABLE}`);
        await ask(other, `notify ${TABLE}, 'hello'`);
        expect(await heard, 'hello');
    })),

    large: () => connected(async (c) => {
        await ask(c, `insert into ${TABLE} values (50000, $1)`, [BIG]);
        expect((await ask(c, `select v from ${TABLE} where id = 50000`))[0][0] === BIG, true);
    }),

    errors: () => connected(async (c) => {
        await expectState(c, '42601', 'selec 1');
        await expectState(c, '42P01', 'select * from no_such_table where a = $1', [1]);
        await expectState(c, '23505', `insert into ${TABLE} values ($1, 'again')`, [10]);
        expect(await ask(c, 'select 1'), [[1]]);
        await ask(c, 'begin');
        await expectState(c, '22012', 'select 1/$1::int', [0]);
        await expectState(c, '25P02', 'select 1');
        await ask(c, 'rollback');
        expect(await ask(c, 'select 1'), [[1]]);
    }),

    // Its pool drops a client that broke and connects another.
    reconnect: async () => {
        const pool = new pg.Pool({ssl, max: 1});
        pool.on('error', () => {});
        const client = await pool.connect();
        client.on('error', () => {});
        await client.query('begin');
        const error = await expectError(client.query('select pg_terminate_backend(pg_backend_pid())'));
        expect(error.code, '57P01');
        client.release(error);
        for (let i = 0; i < 5; i++)
            expect((await pool.query('select $1::int as n', [i])).rows, [{n: i}]);
        await pool.end();
    },

    split: () => connected(async (c) => {
        const roles = [];
        for (let i = 0; i < READS; i++) {
            await ask(c, `select count(*) from ${TABLE} where id > $1`, [0]);
            roles.push((await c.query('show switchgear.last_route')).rows[0].role);
        }
        expectSplit(roles);
        expect(await ask(c, `insert into ${TABLE} values (60000, 'x') returning pg_is_in_recovery()`),
               [[false]]);
    }),

    read_your_writes: () => connected(async (c) => {
        await ask(c, `insert into ${TABLE} values (70000, '-1')`);
        for (let i = 0; i < WRITES; i++) {
            await ask(c, `update ${TABLE} set v = $1 where id = 70000`, [String(i)]);
            expect(await ask(c, `select v from ${TABLE} where id = $1`, [70000]), [[String(i)]]);
        }
    }),
});
