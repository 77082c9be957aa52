# SPDX-License-Identifier: PostgreSQL
# The features of the driver matrix through Perl's DBD::Pg; the connection comes from libpq's variables.
use strict;
use warnings;
use DBI;
use DBD::Pg qw(:async);
use JSON::PP;
use Time::HiRes qw(sleep time);

my ($reads, $writes, $times) = (40, 100, 30);
my $table = $ENV{DRIVER_TABLE};
my $big = 'abcdefghijklmnopqrstuvwxyz' x (4 * 1024 * 1024 / 26);

$| = 1;

sub report
{
    my ($feature, $ok, $detail) = @_;
    print JSON::PP->new->encode({feature => $feature, ok => $ok, detail => $detail // ''}), "\n";
}

sub feature
{
    my ($name, $body) = @_;
    my $ok = eval { $body->(); 1 };
    report($name, $ok ? JSON::PP::true : JSON::PP::false, $ok ? '' : "$@");
}

sub connected
{
    my (%options) = @_;
    my $password = delete $options{password} // $ENV{PGPASSWORD};
    return DBI->connect('dbi:Pg:', $ENV{PGUSER}, $password,
        {RaiseError => 1, PrintError => 0, AutoCommit => 1, pg_enable_utf8 => 0, %options});
}

sub expect
{
    my ($got, $wanted) = @_;
    return if $got eq $wanted;
    die substr($got, 0, 300) . ', not ' . substr($wanted, 0, 300) . ' at line ' . (caller)[2];
}

# The first value of the first row.
sub ask
{
    my ($c, $sql, @values) = @_;
    return scalar $c->selectrow_array($sql, undef, @values);
}

sub expect_state
{
    my ($state, $body) = @_;
    die "no $state at line " . (caller)[2] if eval { $body->(); 1 };
    my $got = $DBI::state || '';
    die "$got, not $state: $@" if $got ne $state;
}

report('version', JSON::PP::true, "DBD::Pg $DBD::Pg::VERSION");

feature('connect', sub {
    my $c = connected();
    expect(ask($c, 'select 1'), 1);
    expect($c->ping > 0, 1);
    $c->disconnect;
    die 'a wrong password was taken' if eval { connected(password => 'wrong'); 1 };
    die $@ unless $@ =~ /password authentication failed/;
});

feature('autocommit', sub {
    my $c = connected();
    $c->do("insert into $table values (?, ?)", undef, 1, 'one');
    expect(ask($c, "select v from $table where id = ?", 1), 'one');
    expect($c->do("delete from $table"), 1);
    expect(ask($c, "select count(*) from $table"), 0);
    $c->disconnect;
});

feature('transactions', sub {
    my $c = connected(AutoCommit => 0);
    my $put = $c->prepare("insert into $table values (?, ?)");
    $put->execute(10, 'kept');
    $c->commit;
    $put->execute(11, 'dropped');
    $c->rollback;
    $put->execute(12, 'kept');
    $c->pg_savepoint('s');
    $put->execute(13, 'dropped');
    $c->pg_rollback_to('s');
    $put->execute(14, 'kept');
    $c->commit;
    my $ids = $c->selectcol_arrayref("select id from $table where id between 10 and 19 order by id");
    expect("@$ids", '10 12 14');
    $c->rollback;
    $c->disconnect;
});

# Prepared by the protocol at the first use, dropped by DEALLOCATE in SQL.
feature('prepared', sub {
    my $c = connected(pg_switch_prepared => 1);
    my $plus = $c->prepare('select ?::int + 1');
    my $put = $c->prepare("insert into $table values (?, ?)");
    for my $i (0 .. $times - 1) {
        $plus->execute($i);
        expect($plus->fetchrow_arrayref->[0], $i + 1);
        $plus->finish;
        $put->execute(100 + $i, 'prepared');
        if ($i % 10 == 0) {
            $c->begin_work;
            expect(ask($c, 'select ?::int + 2', $i), $i + 2);
            $c->commit;
        }
    }
    undef $plus;
    undef $put;
    expect(ask($c, "select count(*) from $table where v = ?", 'prepared'), $times);
    $c->disconnect;
});

# Many rows by one call, and many statements in one string.
feature('pipeline', sub {
    my $c = connected();
    my $put = $c->prepare("insert into $table values (?, 'batch')");
    $put->execute_array({}, [1000 .. 1299]);
    $c->do(join(';', map { "insert into $table values ($_, 'batch')" } 1300 .. 1399));
    expect_state('22012', sub { $c->do("insert into $table values (2000, 'batch'); select 1/0") });
    expect(ask($c, "select count(*) from $table where v = 'batch'"), 400);
    $c->disconnect;
});

feature('copy', sub {
    my $c = connected();
    my @lines = map { 10000 + $_ . "\tcopied\n" } 0 .. 4999;
    $c->do("copy $table from stdin");
    $c->pg_putcopydata($_) for @lines;
    $c->pg_putcopyend;
    $c->do("copy (select * from $table where v = 'copied' order by id) to stdout");
    my ($out, $line) = ('', '');
    $out .= $line while $c->pg_getcopydata(\$line) >= 0;
    expect($out eq join('', @lines), 1);
    expect_state('22P02', sub {
        $c->do("copy $table from stdin");
        $c->pg_putcopydata("no number\tx\n");
        $c->pg_putcopyend;
    });
    expect(ask($c, 'select 1'), 1);
    $c->disconnect;
});

feature('cancel', sub {
    my $c = connected();
    for (1 .. 3) {
        $c->do('select pg_sleep(30)', {pg_async => PG_ASYNC});
        sleep 0.3;
        my $began = time;
        $c->pg_cancel;
        die 'not cancelled' if time - $began > 10;
        expect(ask($c, 'select 1'), 1);
    }
    $c->disconnect;
});

feature('notify', sub {
    my ($c, $other) = (connected(), connected());
    $c->do("listen $table");
    $other->do("notify $table, 'hello'");
    my ($heard, $deadline) = (undef, time + 10);
    until ($heard || time > $deadline) {
        $heard = $c->pg_notifies;
        sleep 0.05;
    }
    expect($heard ? $heard->[2] : 'nothing', 'hello');
    $_->disconnect for $c, $other;
});

feature('large', sub {
    my $c = connected();
    $c->do("insert into $table values (50000, ?)", undef, $big);
    expect(ask($c, "select v from $table where id = 50000") eq $big, 1);
    $c->disconnect;
});

feature('errors', sub {
    my $c = connected();
    expect_state('42601', sub { ask($c, 'selec 1') });
    expect_state('42P01', sub { ask($c, 'select * from no_such_table where a = ?', 1) });
    expect_state('23505', sub { $c->do("insert into $table values (?, 'again')", undef, 10) });
    expect(ask($c, 'select 1'), 1);
    $c->begin_work;
    expect_state('22012', sub { ask($c, 'select 1/?::int', 0) });
    expect_state('25P02', sub { ask($c, 'select 1') });
    $c->rollback;
    expect(ask($c, 'select 1'), 1);
    $c->disconnect;
});

# libpq shows DBD::Pg the end of the connection, not the SQLSTATE before it.
feature('reconnect', sub {
    my $c = connected();
    $c->begin_work;
    die 'it lives' if eval { ask($c, 'select pg_terminate_backend(pg_backend_pid())'); 1 };
    die $@ unless $@ =~ /closed/;
    expect($c->ping <= 0 ? 'gone' : 'there', 'gone');
    $c = connected();
    expect(ask($c, 'select 1'), 1);
    $c->disconnect;
});

feature('split', sub {
    my $c = connected();
    my $replica = 0;
    my $read = $c->prepare("select count(*) from $table where id > ?");
    for (1 .. $reads) { # $read is kept: its DEALLOCATE would be the last statement
        $read->execute(0);
        $read->fetchall_arrayref;
        $replica++ if $c->selectrow_hashref('show switchgear.last_route')->{role} eq 'replica';
    }
    die "$replica of $reads reads on replicas" if $replica < $reads / 4;
    expect(ask($c, "insert into $table values (60000, 'x') returning pg_is_in_recovery()"), 0);
    undef $read;
    $c->disconnect;
});

feature('read_your_writes', sub {
    my $c = connected();
    $c->do("insert into $table values (70000, '-1')");
    for my $i (1 .. $writes) {
        $c->do("update $table set v = ? where id = 70000", undef, $i);
        expect(ask($c, "select v from $table where id = ?", 70000), $i);
    }
    $c->disconnect;
});
