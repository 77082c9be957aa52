// SPDX-License-Identifier: PostgreSQL
// The features of the driver matrix through Prisma and its pg adapter, without Prisma's own engine:
// the client is generated with the query compiler, which is WebAssembly and comes with the package.
'use strict';
const {execFileSync} = require('child_process');
const fs = require('fs');
const path = require('path');
const {TABLE, TEMP, BIG, READS, WRITES, TIMES, KEPT, ssl, expect, expectError, expectSplit,
       features, DoesNotApply} = require('./drive.js');
const {PrismaPg} = require('@prisma/adapter-pg');

const SCHEMA = `
generator client {
  provider   = "prisma-client-js"
  engineType = "client"
  output     = "./client"
}
datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
model Row {
  id Int     @id
  v  String?
  @@map("${TABLE}")
}
`;

// The command downloads its engines unless told where they are; generating a client needs none. It
// installs packages of its own unless it finds a project that has them.
function generate() {
    const directory = fs.mkdtempSync(path.join(TEMP, 'prisma-'));
    fs.writeFileSync(path.join(directory, 'package.json'), '{"name": "drive", "private": true}');
    fs.symlinkSync(path.join(__dirname, 'node_modules'), path.join(directory, 'node_modules'));
    fs.writeFileSync(path.join(directory, 'schema.prisma'), SCHEMA);
    const cli = path.join(__dirname, 'node_modules', 'prisma', 'build', 'index.js');
    execFileSync(process.execPath, [cli, 'generate', '--no-hints', '--schema',
                                    path.join(directory, 'schema.prisma')], {
        cwd: directory, stdio: 'ignore',
        env: {...process.env, CHECKPOINT_DISABLE: '1', PRISMA_HIDE_UPDATE_MESSAGE: '1',
              PRISMA_QUERY_ENGINE_LIBRARY: '/bin/true', PRISMA_SCHEMA_ENGINE_BINARY: '/bin/true'}});
    return require(path.join(directory, 'client')).PrismaClient;
}

const PrismaClient = generate();

async function connected(body, parameters) {
    const e = process.env;
    const prisma = new PrismaClient({adapter: new PrismaPg({
        host: e.PGHOST, port: Number(e.PGPORT), user: e.PGUSER, password: e.PGPASSWORD,
        database: e.PGDATABASE, ssl, max: 1, ...parameters}, {onPoolError: () => {}})});
    try {
        return await body(prisma);
    } finally {
        await prisma.$disconnect();
    }
}

// SQLSTATE of a raw query's error; Prisma's own code of a model's error.
async function expectState(promise, state) {
    const error = await expectError(promise);
    const code = error.code === 'P2010' ? error.meta.driverAdapterError
        ? error.meta.driverAdapterError.cause.originalCode : error.meta.code : error.code;
    expect(code || error.message, state);
}

features('Prisma ' + require('@prisma/client/package.json').version, {
    connect: async () => {
        await connected(async (prisma) => {
            expect(await prisma.$queryRaw`select 1 as one`, [{one: 1}]);
        });
        await expectError(connected((prisma) => prisma.$queryRaw`select 1`, {password: 'wrong'}));
    },

    autocommit: () => connected(async (prisma) => {
        await prisma.row.create({data: {id: 1, v: 'one'}});
        expect(await prisma.row.findUnique({where: {id: 1}}), {id: 1, v: 'one'});
        await prisma.row.upsert({where: {id: 1}, update: {v: 'two'}, create: {id: 1}});
        expect(await prisma.row.findMany({where: {v: {startsWith: 't'}}}), [{id: 1, v: 'two'}]);
        expect(await prisma.row.deleteMany(), {count: 1});
        expect(await prisma.row.count(), 0);
    }),

    transactions: () => connected(async (prisma) => {
        await prisma.$transaction((t) => t.row.create({data: {id: 10, v: 'kept'}}));
        await expectError(prisma.$transaction(async (t) => {
            await t.row.create({data: {id: 11, v: 'dropped'}});
            throw new Error('dropped');
        }));
        await prisma.$transaction(async (t) => {
            await t.row.create({data: {id: 12, v: 'kept'}});
            await t.$executeRaw`savepoint s`;
            await t.row.create({data: {id: 13, v: 'dropped'}});
            await t.$executeRaw`rollback to s`;
            await t.row.create({data: {id: 14, v: 'kept'}});
        }, {isolationLevel: 'Serializable'});
        const rows = await prisma.row.findMany({where: {id: {gte: 10, lt: 20}}, orderBy: {id: 'asc'}});
        expect(rows.map((row) => row.id), KEPT);
    }),

    prepared: async () => {
        await connected(async (prisma) => {
            for (let i = 0; i < TIMES; i++)
                expect(await prisma.$queryRaw`select ${i}::int + 1 as n`, [{n: i + 1}]);
        });
        throw new DoesNotApply('its adapter uses the unnamed statement');
    },

    pipeline: () => connected(async (prisma) => {
        const data = Array.from({length: 600}, (_, i) => ({id: 1000 + i, v: 'batch'}));
        expect(await prisma.row.createMany({data}), {count: 600});
        await prisma.$transaction([1, 2, 3].map((i) =>
            prisma.row.update({where: {id: 1000 + i}, data: {v: 'batch2'}})));
        expect(await prisma.row.groupBy({by: ['v'], where: {v: {startsWith: 'batch'}},
                                         _count: true, orderBy: {v: 'asc'}}),
               [{_count: 597, v: 'batch'}, {_count: 3, v: 'batch2'}]);
    }),

    copy: async () => {
        throw new DoesNotApply('it has none');
    },

    // A transaction that takes too long is rolled back; a statement that runs is not cancelled.
    cancel: async () => {
        throw new DoesNotApply('it has none');
    },

    notify: async () => {
        throw new DoesNotApply('it has none');
    },

    large: () => connected(async (prisma) => {
        await prisma.row.create({data: {id: 50000, v: BIG}});
        expect((await prisma.row.findUnique({where: {id: 50000}})).v === BIG, true);
    }),

    errors: () => connected(async (prisma) => {
        await expectState(prisma.$queryRaw`selec 1`, '42601');
        await expectState(prisma.$queryRaw`select * from no_such_table where a = ${1}`, '42P01');
        await expectState(prisma.row.create({data: {id: 10}}), 'P2002'); // a unique violation
        expect(await prisma.row.count({where: {id: 10}}), 1);
        await expectError(prisma.$transaction(async (t) => {
            await expectState(t.$queryRaw`select 1/${0}::int`, '22012');
            await expectState(t.$queryRaw`select 1`, '25P02');
            throw new Error('dropped');
        }));
        expect(await prisma.row.count({where: {id: 10}}), 1);
    }),

    // Not in a block: over TLS, on PostgreSQL too, it waits for ever for the ROLLBACK that it sends then.
    reconnect: () => connected(async (prisma) => {
        await expectState(prisma.$queryRaw`select pg_terminate_backend(pg_backend_pid())`, '57P01');
        for (let i = 0; i < 5; i++)
            expect(await prisma.$queryRaw`select ${i}::int as n`, [{n: i}]);
    }),

    split: () => connected(async (prisma) => {
        const roles = [];
        for (let i = 0; i < READS; i++) {
            await prisma.row.count({where: {id: {gt: 0}}});
            roles.push((await prisma.$queryRaw`show switchgear.last_route`)[0].role);
        }
        expectSplit(roles);
        expect(await prisma.$queryRawUnsafe(
            `insert into ${TABLE} values (60000, 'x') returning pg_is_in_recovery() as r`),
               [{r: false}]);
    }),

    read_your_writes: () => connected(async (prisma) => {
        await prisma.row.create({data: {id: 70000, v: '-1'}});
        for (let i = 0; i < WRITES; i++) {
            await prisma.row.updateMany({where: {id: 70000}, data: {v: String(i)}});
            expect((await prisma.row.findUnique({where: {id: 70000}})).v, String(i));
        }
    }),
});
