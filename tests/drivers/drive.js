// SPDX-License-Identifier: PostgreSQL
// What the JavaScript programs of the driver matrix share: one line of JSON a feature.
'use strict';
const fs = require('fs');

const FEATURES = ['connect', 'autocommit', 'transactions', 'prepared', 'pipeline', 'copy', 'cancel',
                  'notify', 'large', 'errors', 'reconnect', 'split', 'read_your_writes'];

class DoesNotApply extends Error {}

function report(feature, ok, detail) {
    fs.writeSync(1, JSON.stringify({feature, ok, detail: String(detail || '')}) + '\n');
}

function expect(got, wanted) {
    const [g, w] = [JSON.stringify(got), JSON.stringify(wanted)];
    if (g !== w)
        throw new Error(`${String(g).slice(0, 300)}, not ${String(w).slice(0, 300)}`);
}

// Awaits a promise that has to fail; gives its error.
async function expectError(promise) {
    let value;
    try {
        value = await promise;
    } catch (error) {
        return error;
    }
    throw new Error('no error, but ' + JSON.stringify(value).slice(0, 300));
}

function expectSplit(roles) {
    const replica = roles.filter((role) => role === 'replica').length;
    if (replica < roles.length / 4)
        throw new Error(`${replica} of ${roles.length} reads on replicas`);
}

// Also where the driver waits for what will never come, and node would end without a word.
function within(seconds, promise) {
    let timer;
    const late = new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error(`not done within ${seconds} s`)), seconds * 1000);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function features(version, functions) {
    report('version', true, version);
    for (const name of FEATURES) {
        if (name === 'split')  // replicas show what the features before it did
            await new Promise((resolve) => setTimeout(resolve, 500));
        try {
            await within(30, functions[name]());
            report(name, true);
        } catch (error) {
            const line = /drive_\w+\.js:\d+/.exec(error.stack || '');
            report(name, error instanceof DoesNotApply ? null : false,
                   error.message + (error instanceof DoesNotApply || !line ? '' : ` (${line[0]})`));
        }
    }
    process.exit(0);
}

const env = process.env;
const ssl = !env.PGSSLMODE || env.PGSSLMODE === 'disable' ? false
    : {rejectUnauthorized: true, ca: fs.readFileSync(env.PGSSLROOTCERT, 'utf8'),
       servername: 'localhost'};

module.exports = {
    features, report, expect, expectError, expectSplit, DoesNotApply, ssl,
    TABLE: env.DRIVER_TABLE, TEMP: env.DRIVER_TEMP,
    BIG: 'abcdefghijklmnopqrstuvwxyz'.repeat(4 * 1024 * 1024 / 26),
    READS: 40, WRITES: 100, TIMES: 30, KEPT: [10, 12, 14],
    sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
};
