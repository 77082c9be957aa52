# SPDX-License-Identifier: PostgreSQL
# The features of the driver matrix through Ruby's pg; the connection comes from libpq's variables.
require 'json'
require 'pg'

TABLE = ENV.fetch('DRIVER_TABLE')
BIG = 'abcdefghijklmnopqrstuvwxyz' * (4 * 1024 * 1024 / 26)
READS, WRITES, TIMES = 40, 100, 30
KEPT = %w[10 12 14]

def report(feature, ok, detail = '')
  puts JSON.generate('feature' => feature, 'ok' => ok, 'detail' => detail)
  $stdout.flush
end

def expect(got, wanted)
  raise "#{got.inspect[0, 300]}, not #{wanted.inspect[0, 300]}" unless got == wanted
end

def connected(**parameters)
  connection = PG.connect(**parameters)
  yield connection
ensure
  connection&.finish unless connection&.finished?
end

def ask(connection, sql, values = [])
  connection.exec_params(sql, values).values
end

def expect_state(state)
  yield
rescue PG::Error => error
  expect(error.result&.error_field(PG::PG_DIAG_SQLSTATE), state)
else
  raise "no #{state}"
end

def feature(name)
  yield
  report(name, true)
rescue StandardError => error
  report(name, false, "#{error.class}: #{error.message} (#{error.backtrace.grep(/drive_/).first})")
end

report('version', true, "ruby-pg #{PG::VERSION}")

feature('connect') do
  connected do |c|
    expect(ask(c, 'select 1'), [['1']])
    expect(c.ssl_in_use?, ENV.fetch('PGSSLMODE', 'disable') != 'disable')
  end
  begin
    connected(password: 'wrong') { raise 'a wrong password was taken' }
  rescue PG::ConnectionBad => error
    expect(error.message.include?('password authentication failed'), true)
  end
end

feature('autocommit') do
  connected do |c|
    ask(c, "insert into #{TABLE} values ($1, $2)", [1, 'one'])
    expect(ask(c, "select v from #{TABLE} where id = $1", [1]), [['one']])
    expect(c.exec("delete from #{TABLE}").cmd_tuples, 1)
    expect(ask(c, "select * from #{TABLE}"), [])
  end
end

feature('transactions') do
  connected do |c|
    put = "insert into #{TABLE} values ($1, $2)"
    c.transaction { ask(c, put, [10, 'kept']) }
    begin
      c.transaction do
        ask(c, put, [11, 'dropped'])
        raise IndexError
      end
    rescue IndexError
      nil
    end
    c.transaction do
      ask(c, put, [12, 'kept'])
      c.exec('savepoint s')
      ask(c, put, [13, 'dropped'])
      c.exec('rollback to s')
      ask(c, put, [14, 'kept'])
    end
    rows = ask(c, "select id from #{TABLE} where id between 10 and 19 order by id")
    expect(rows.flatten, KEPT)
  end
end

feature('prepared') do
  connected do |c|
    c.prepare('plus', 'select $1::int + 1')
    c.prepare('put', "insert into #{TABLE} values ($1, $2)")
    TIMES.times do |i|
      expect(c.exec_prepared('plus', [i]).values, [[(i + 1).to_s]])
      c.exec_prepared('put', [100 + i, 'prepared'])
      c.transaction { expect(c.exec_prepared('plus', [i]).ntuples, 1) } if (i % 10).zero?
    end
    expect(c.describe_prepared('put').nparams, 2)
    expect(ask(c, "select count(*) from #{TABLE} where v = $1", ['prepared']), [[TIMES.to_s]])
    c.exec('deallocate plus')
    expect_state('26000') { c.exec_prepared('plus', [1]) }
  end
end

feature('pipeline') do
  connected do |c|
    c.enter_pipeline_mode
    300.times { |i| c.send_query_params("insert into #{TABLE} values ($1, 'batch')", [1000 + i]) }
    c.pipeline_sync
    300.times do
      expect(c.get_result.result_status, PG::PGRES_COMMAND_OK)
      expect(c.get_result, nil)
    end
    expect(c.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
    [2000, 1000, 2001].each do |id|
      c.send_query_params("insert into #{TABLE} values ($1, 'batch')", [id])
    end
    c.pipeline_sync
    seen = Array.new(3) do
      status = c.get_result.result_status
      c.get_result
      status
    end
    expect(seen, [PG::PGRES_COMMAND_OK, PG::PGRES_FATAL_ERROR, PG::PGRES_PIPELINE_ABORTED])
    expect(c.get_result.result_status, PG::PGRES_PIPELINE_SYNC)
    c.exit_pipeline_mode
    expect(ask(c, "select count(*) from #{TABLE} where v = 'batch'"), [['300']])
  end
end

feature('copy') do
  connected do |c|
    lines = Array.new(5000) { |i| "#{10_000 + i}\tcopied\n" }
    c.copy_data("copy #{TABLE} from stdin") { lines.each { |line| c.put_copy_data(line) } }
    out = []
    c.copy_data("copy (select * from #{TABLE} where v = 'copied' order by id) to stdout") do
      while (line = c.get_copy_data)
        out << line
      end
    end
    expect(out == lines, true)
    expect_state('22P02') do
      c.copy_data("copy #{TABLE} from stdin") { c.put_copy_data("no number\tx\n") }
    end
    expect(ask(c, 'select 1'), [['1']])
  end
end

feature('cancel') do
  connected do |c|
    3.times do
      c.send_query('select pg_sleep(30)')
      sleep 0.3
      c.cancel
      expect_state('57014') { c.get_last_result }
      expect(ask(c, 'select 1'), [['1']])
    end
  end
end

feature('notify') do
  connected do |c|
    connected do |other|
      c.exec("listen #{TABLE}")
      other.exec("notify #{TABLE}, 'hello'")
      heard = nil
      c.wait_for_notify(10) { |_channel, _pid, payload| heard = payload }
      expect(heard, 'hello')
    end
  end
end

feature('large') do
  connected do |c|
    ask(c, "insert into #{TABLE} values (50000, $1)", [BIG])
    expect(ask(c, "select v from #{TABLE} where id = 50000") == [[BIG]], true)
  end
end

feature('errors') do
  connected do |c|
    expect_state('42601') { c.exec('selec 1') }
    expect_state('42P01') { ask(c, 'select * from no_such_table where a = $1', [1]) }
    expect_state('23505') { ask(c, "insert into #{TABLE} values ($1, 'again')", [10]) }
    expect(ask(c, 'select 1'), [['1']])
    c.exec('begin')
    expect_state('22012') { ask(c, 'select 1/$1::int', [0]) }
    expect_state('25P02') { c.exec('select 1') }
    c.exec('rollback')
    expect(ask(c, 'select 1'), [['1']])
  end
end

feature('reconnect') do
  connected do |c|
    c.exec('begin')
    begin
      c.exec('select pg_terminate_backend(pg_backend_pid())')
      raise 'it lives'
    rescue PG::Error => error
      expect(error.message.include?('closed'), true)
    end
    expect(c.status, PG::CONNECTION_BAD)
    c.reset
    expect(ask(c, 'select 1'), [['1']])
  end
end

sleep 0.5 # replicas show what the features before it did
feature('split') do
  connected do |c|
    replica = 0
    READS.times do
      ask(c, "select count(*) from #{TABLE} where id > $1", [0])
      replica += 1 if c.exec('show switchgear.last_route')[0]['role'] == 'replica'
    end
    raise "#{replica} of #{READS} reads on replicas" if replica < READS / 4

    expect(ask(c, "insert into #{TABLE} values (60000, 'x') returning pg_is_in_recovery()"), [['f']])
  end
end

feature('read_your_writes') do
  connected do |c|
    ask(c, "insert into #{TABLE} values (70000, '-1')")
    WRITES.times do |i|
      ask(c, "update #{TABLE} set v = $1 where id = 70000", [i.to_s])
      expect(ask(c, "select v from #{TABLE} where id = $1", [70_000]), [[i.to_s]])
    end
  end
end
