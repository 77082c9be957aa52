<?php
// SPDX-License-Identifier: PostgreSQL
// The features of the driver matrix through PHP's PDO; the connection comes from libpq's variables.
declare(strict_types=1);

const READS = 40, WRITES = 100, TIMES = 30;
define('TABLE', getenv('DRIVER_TABLE'));

class DoesNotApply extends Exception {}

function report(string $feature, ?bool $ok, string $detail = ''): void
{
    echo json_encode(['feature' => $feature, 'ok' => $ok, 'detail' => $detail]), "\n";
}

function expect($got, $wanted): void
{
    if ($got !== $wanted)
        throw new Exception(substr(var_export($got, true), 0, 300) . ', not '
            . substr(var_export($wanted, true), 0, 300));
}

function connect(array $options = [], ?string $password = null): PDO
{
    $dsn = 'pgsql:host=' . getenv('PGHOST') . ';port=' . getenv('PGPORT') . ';dbname='
        . getenv('PGDATABASE') . ';sslmode=' . getenv('PGSSLMODE');
    return new PDO($dsn, getenv('PGUSER'), $password ?? getenv('PGPASSWORD'), $options);
}

function ask(PDO $c, string $sql, array $values = []): array
{
    $statement = $c->prepare($sql);
    $statement->execute($values);
    return $statement->fetchAll(PDO::FETCH_NUM);
}

function expect_state(string $state, callable $run): void
{
    try {
        $run();
    } catch (PDOException $error) {
        expect($error->errorInfo[0] ?? null, $state);
        return;
    }
    throw new Exception("no $state");
}

function put(PDO $c, int $id, string $v): void
{
    ask($c, 'insert into ' . TABLE . ' values (?, ?)', [$id, $v]);
}

$features = [];

$features['connect'] = function () {
    expect(ask(connect(), 'select 1'), [[1]]);
    try {
        connect([], 'wrong');
    } catch (PDOException $error) {
        expect(str_contains($error->getMessage(), 'password authentication failed'), true);
        return;
    }
    throw new Exception('a wrong password was taken');
};

$features['autocommit'] = function () {
    $c = connect();
    put($c, 1, 'one');
    expect(ask($c, 'select v from ' . TABLE . ' where id = ?', [1]), [['one']]);
    expect($c->exec('delete from ' . TABLE), 1);
    expect(ask($c, 'select * from ' . TABLE), []);
};

$features['transactions'] = function () {
    $c = connect();
    $c->beginTransaction();
    put($c, 10, 'kept');
    $c->commit();
    $c->beginTransaction();
    put($c, 11, 'dropped');
    $c->rollBack();
    $c->beginTransaction();
    put($c, 12, 'kept');
    $c->exec('savepoint s');
    put($c, 13, 'dropped');
    $c->exec('rollback to s');
    put($c, 14, 'kept');
    $c->commit();
    expect(ask($c, 'select id from ' . TABLE . ' where id between 10 and 19 order by id'),
        [[10], [12], [14]]);
    $c->beginTransaction();
    $cursor = $c->prepare('select generate_series(1, 500)', [PDO::ATTR_CURSOR => PDO::CURSOR_SCROLL]);
    $cursor->execute();
    expect($cursor->fetch(PDO::FETCH_NUM), [1]);
    expect($cursor->fetch(PDO::FETCH_NUM, PDO::FETCH_ORI_LAST), [500]);
    $cursor = null;
    $c->commit();
};

// Each statement is prepared by the protocol, and dropped by DEALLOCATE in SQL.
$features['prepared'] = function () {
    $c = connect();
    $plus = $c->prepare('select ?::int + 1');
    $put = $c->prepare('insert into ' . TABLE . ' values (?, ?)');
    for ($i = 0; $i < TIMES; $i++) {
        $plus->execute([$i]);
        expect($plus->fetchAll(PDO::FETCH_NUM), [[$i + 1]]);
        $put->execute([100 + $i, 'prepared']);
        if ($i % 10 == 0) {
            $c->beginTransaction();
            $plus->execute([$i]);
            $inner = $c->prepare('select ?::int + 2');
            $inner->execute([$i]);
            expect($inner->fetchAll(PDO::FETCH_NUM), [[$i + 2]]);
            $inner = null;
            $c->commit();
        }
    }
    $plus = $put = null;
    expect(ask($c, 'select count(*) from ' . TABLE . " where v = 'prepared'"), [[TIMES]]);
};

// Many statements in one string is the nearest that it has.
$features['pipeline'] = function () {
    $c = connect();
    $text = '';
    for ($i = 0; $i < 300; $i++)
        $text .= 'insert into ' . TABLE . ' values (' . (1000 + $i) . ", 'batch');";
    $c->exec($text);
    expect_state('22012', fn() => $c->exec('insert into ' . TABLE . " values (2000, 'batch'); select 1/0"));
    expect(ask($c, 'select count(*) from ' . TABLE . " where v = 'batch'"), [[300]]);
    $c->setAttribute(PDO::ATTR_EMULATE_PREPARES, true);
    expect(ask($c, 'select ?::int + 1', [1]), [[2]]);
};

$features['copy'] = function () {
    $c = connect();
    $lines = [];
    for ($i = 0; $i < 5000; $i++)
        $lines[] = (10000 + $i) . "\tcopied\n";
    expect($c->pgsqlCopyFromArray(TABLE, $lines), true);
    expect(ask($c, 'select count(*) from ' . TABLE . " where v = 'copied'"), [[5000]]);
    $out = $c->pgsqlCopyToArray(TABLE);
    expect(count(array_filter($out, fn($line) => str_ends_with($line, "\tcopied\n"))), 5000);
    expect_state('22P02', fn() => $c->pgsqlCopyFromArray(TABLE, ["no number\tx\n"]));
    expect(ask($c, 'select 1'), [[1]]);
};

$features['cancel'] = function () {
    throw new DoesNotApply('it has none');
};

$features['notify'] = function () {
    [$c, $other] = [connect(), connect()];
    $c->exec('listen ' . TABLE);
    $other->exec('notify ' . TABLE . ", 'hello'");
    $heard = $c->pgsqlGetNotify(PDO::FETCH_ASSOC, 10000);
    expect($heard['payload'] ?? null, 'hello');
};

// Large objects too: PDO has calls of its own for them, which use the protocol's function call.
$features['large'] = function () {
    $big = str_repeat('abcdefghijklmnopqrstuvwxyz', intdiv(4 * 1024 * 1024, 26));
    $c = connect();
    put($c, 50000, $big);
    expect(ask($c, 'select v from ' . TABLE . ' where id = 50000')[0][0] === $big, true);
    $c->beginTransaction();
    $oid = $c->pgsqlLOBCreate();
    $stream = $c->pgsqlLOBOpen($oid, 'w');
    fwrite($stream, $big);
    fclose($stream);
    $c->commit();
    $c->beginTransaction();
    expect(stream_get_contents($c->pgsqlLOBOpen($oid, 'r')) === $big, true);
    $c->pgsqlLOBUnlink($oid);
    $c->commit();
};

$features['errors'] = function () {
    $c = connect();
    expect_state('42601', fn() => ask($c, 'selec 1'));
    expect_state('42P01', fn() => ask($c, 'select * from no_such_table where a = ?', [1]));
    expect_state('23505', fn() => put($c, 10, 'again'));
    expect(ask($c, 'select 1'), [[1]]);
    $c->beginTransaction();
    expect_state('22012', fn() => ask($c, 'select 1/?::int', [0]));
    expect_state('25P02', fn() => ask($c, 'select 1'));
    $c->rollBack();
    expect(ask($c, 'select 1'), [[1]]);
};

// libpq shows PDO the end of the connection, not the SQLSTATE before it.
$features['reconnect'] = function () {
    $c = connect();
    $c->beginTransaction();
    try {
        ask($c, 'select pg_terminate_backend(pg_backend_pid())');
        throw new Exception('it lives');
    } catch (PDOException $error) {
        expect(str_contains($error->getMessage(), 'closed'), true);
    }
    unset($c);
    expect(ask(connect(), 'select 1'), [[1]]);
};

$features['split'] = function () {
    usleep(500000); // replicas show what the features before it did
    $c = connect();
    $replica = 0;
    $read = $c->prepare('select count(*) from ' . TABLE . ' where id > ?');
    for ($i = 0; $i < READS; $i++) {
        $read->execute([0]); /* kept: its DEALLOCATE would be the last statement */
        $route = $c->query('show switchgear.last_route')->fetch(PDO::FETCH_ASSOC);
        $replica += $route['role'] === 'replica' ? 1 : 0;
    }
    if ($replica < READS / 4)
        throw new Exception("$replica of " . READS . ' reads on replicas');
    expect(ask($c, 'insert into ' . TABLE . " values (60000, 'x') returning pg_is_in_recovery()"),
        [[false]]);
};

$features['read_your_writes'] = function () {
    $c = connect();
    put($c, 70000, '-1');
    for ($i = 0; $i < WRITES; $i++) {
        ask($c, 'update ' . TABLE . ' set v = ? where id = 70000', [(string) $i]);
        expect(ask($c, 'select v from ' . TABLE . ' where id = ?', [70000]), [[(string) $i]]);
    }
};

report('version', true, 'PDO of PHP ' . PHP_VERSION);
foreach ($features as $name => $feature) {
    try {
        $feature();
        report($name, true);
    } catch (DoesNotApply $reason) {
        report($name, null, $reason->getMessage());
    } catch (Throwable $error) {
        $lines = array_column($error->getTrace(), 'line');
        report($name, false, $error->getMessage() . ' (lines ' . implode(' ', $lines) . ')');
    }
}
