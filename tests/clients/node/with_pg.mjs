// node-postgres.
//
//     PHANTOM_NODE_MODULES=.../node_modules node with_pg.mjs postgresql://phantom@127.0.0.1:7432/phantom
//
// The address may be PostgreSQL's own: what the tests expect is what it answers too.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { finished, pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'

// The packages lie outside of the sources: PHANTOM_NODE_MODULES says where.
const require = createRequire(`${process.env.PHANTOM_NODE_MODULES}/`)
const pg = require('pg')
const Cursor = require('pg-cursor')
const copyStreams = require('pg-copy-streams')

const [connectionString] = process.argv.slice(2)
if (!connectionString) {
  console.error('usage: node with_pg.mjs DSN')
  process.exit(2)
}

let client
before(async () => {
  client = new pg.Client({ connectionString })
  await client.connect()
})
after(() => client.end())

async function fresh(name, columns) {
  await client.query(`DROP TABLE IF EXISTS ${name}`)
  await client.query(`CREATE TABLE ${name} (${columns})`)
}

/** The SQLSTATE with which a query fails. */
async function state(query, values) {
  try {
    await client.query(query, values)
  } catch (error) {
    return error.code
  }
  return assert.fail(`${query} did not fail`)
}

// A type, a value as it is sent, and as it is read where that differs.
const VALUES = [
  ['boolean', true],
  ['boolean', false],
  ['smallint', -32768],
  ['integer', 2147483647],
  ['integer', -2147483648],
  ['bigint', '9223372036854775807'],
  ['bigint', '-9223372036854775808'],
  ['real', 1.5],
  ['real', NaN],
  ['double precision', 0.1],
  ['double precision', 1.7976931348623157e308],
  ['double precision', 5e-324],
  ['double precision', -Infinity],
  ['numeric', '12345678901234567890123456789012345678901234567890.000'],
  ['numeric', '-0.00000000000000000001'],
  ['numeric', 'NaN'],
  ['numeric', 'Infinity'],
  ['numeric', '-Infinity'],
  ['numeric(10,3)', '1.5', '1.500'],
  ['numeric(10,3)', 'NaN'],
  ['text', ''],
  ['text', 'quote \' \\ " %s $1'],
  ['text', 'žluťoučký 🐘 中文\n\t'],
  ['text', 'x'.repeat(100000)],
  ['varchar(3)', '🐘🐘🐘'],
  ['char(5)', 'abc', 'abc  '],
  ['bytea', Buffer.from([0, 1, 255])],
  ['bytea', Buffer.alloc(0)],
  ['bytea', Buffer.alloc(100000, 7)],
  ['date', new Date(2024, 1, 29)],
  ['date', 'infinity', Infinity],
  ['time', '12:34:56.789012'],
  ['timetz', '12:34:56.789012+05:30'],
  ['timetz', '24:00:00-08'],
  ['timetz(1)', '12:34:56.78-03', '12:34:56.8-03'],
  ['time(0)', '12:34:56.78', '12:34:57'],
  ['timestamp(0)', new Date(2024, 11, 31, 23, 59, 59, 500), new Date(2025, 0, 1)],
  ['timestamptz(1)', new Date(Date.UTC(2024, 1, 29, 12, 0, 0, 149)), new Date(Date.UTC(2024, 1, 29, 12, 0, 0, 100))],
  ['timestamp', new Date(1999, 11, 31, 23, 59, 59, 999)],
  ['timestamp', '-infinity', -Infinity],
  ['timestamptz', new Date(Date.UTC(2024, 1, 29, 12, 0, 0, 1))],
  ['uuid', '123e4567-e89b-12d3-a456-426614174000'],
  ['oid', 4294967295],
  ['name', 'identifier'],
  ['json', { a: [1, { b: null }], č: 'x\ny' }],
  ['json', 'null', null],
  ['jsonb', { č: 'x\ny', a: [1, { b: null }] }],
  ['jsonb[]', ['{"b": 1, "a": 2}', null], [{ a: 2, b: 1 }, null]],
  ['integer[]', [1, null, -2147483648]],
  ['integer[]', [[1, 2], [3, 4]]],
  ['text[]', ['', 'NULL', null, 'quote " and \\', 'comma,{brace}', '🐘']],
  ['boolean[]', [true, null, false]],
  ['double precision[]', [0.5, null, -Infinity]],
  ['numeric[]', ['1.5', null], [1.5, null]],
  ['timestamptz[]', [new Date(Date.UTC(2024, 1, 29)), null]],
  ['uuid[]', ['123e4567-e89b-12d3-a456-426614174000', null]],
]

describe('types', () => {
  for (const [number, [type, value, read = value]] of VALUES.entries()) {
    it(`${type} ${number}`, async () => {
      await fresh('nd_types', `id int PRIMARY KEY, v ${type}`)
      await client.query('INSERT INTO nd_types VALUES (1, $1), (2, NULL)', [value])
      const { rows } = await client.query('SELECT v FROM nd_types ORDER BY id')
      assert.deepEqual(rows, [{ v: read }, { v: null }])
    })
  }

  it('binary results', async () => {
    const { rows } = await client.query({
      text: "SELECT 7::int4 AS i, 'x🐘'::text AS t, true AS b, 1.5::float8 AS f, 42::int8 AS l, ARRAY[1,NULL,3] AS a, '2024-02-29 12:00:00+00'::timestamptz AS w",
      binary: true,
    })
    assert.deepEqual(rows[0], {
      i: 7, t: 'x🐘', b: true, f: 1.5, l: '42', a: [1, null, 3], w: new Date(Date.UTC(2024, 1, 29, 12)),
    })
  })

  it('intervals', async () => {
    const { rows, fields } = await client.query(
      "SELECT '1 year 2 mons 3 days 04:05:06.789'::interval AS v, '1 mon 1.25 s'::interval day to second(1) AS w, '2024-01-01'::timestamp(3) AS t",
    )
    assert.equal(rows[0].v.toPostgres(), '6.789 seconds 5 minutes 4 hours 3 days 2 months 1 years')
    assert.equal(rows[0].w.toPostgres(), '1.3 seconds 1 months')
    assert.deepEqual(fields.map((field) => field.dataTypeModifier), [-1, 0x1c080001, 3])
  })

  it('what is out of range', async () => {
    assert.equal(await state('SELECT $1::smallint', ['32768']), '22003')
    assert.equal(await state('SELECT $1::uuid', ['123']), '22P02')
    assert.equal(await state('SELECT $1::date', ['2023-02-29']), '22008')
  })
})

describe('statements', () => {
  it('parameters', async () => {
    const { rows } = await client.query('SELECT $1::int + $1 AS sum, $2::text AS t', [21, null])
    assert.deepEqual(rows, [{ sum: 42, t: null }])
    const numbers = [...Array(1000).keys()]
    const list = numbers.map((n) => `$${n + 1}::int`).join()
    const many = await client.query(`SELECT ARRAY[${list}] AS a`, numbers)
    assert.deepEqual(many.rows[0].a, numbers)
  })

  it('any', async () => {
    await fresh('nd_any', 'id int PRIMARY KEY, t text')
    await client.query("INSERT INTO nd_any SELECT n, 't' || n FROM generate_series(1, 100) AS n")
    const some = await client.query('SELECT id FROM nd_any WHERE id = ANY($1) ORDER BY id', [[3, 99, 500]])
    assert.deepEqual(some.rows.map((row) => row.id), [3, 99])
    const texts = await client.query('SELECT count(*)::int AS n FROM nd_any WHERE t = ANY($1::text[])', [['t1', 't2']])
    assert.deepEqual(texts.rows, [{ n: 2 }])
  })

  it('named statements outlive a schema change', async () => {
    await fresh('nd_named', 'id int PRIMARY KEY, a text')
    await client.query("INSERT INTO nd_named VALUES (1, 'x')")
    const named = { name: 'nd named', text: 'SELECT id, a FROM nd_named WHERE id = $1', values: [1] }
    for (let n = 0; n < 3; n++) {
      assert.deepEqual((await client.query(named)).rows, [{ id: 1, a: 'x' }])
    }
    await client.query('ALTER TABLE nd_named ADD COLUMN b int DEFAULT 7')
    assert.deepEqual((await client.query(named)).rows, [{ id: 1, a: 'x' }])
    const star = { name: 'nd star', text: 'SELECT * FROM nd_named' }
    await client.query(star)
    await client.query('ALTER TABLE nd_named DROP COLUMN b')
    await assert.rejects(client.query(star), { message: 'cached plan must not change result type' })
  })

  it('several results of a text', async () => {
    const results = await client.query("SELECT 1 AS a; SELECT 'x' AS b, NULL AS c")
    assert.deepEqual(results.map((result) => result.rows), [[{ a: 1 }], [{ b: 'x', c: null }]])
  })

  it('rows as arrays, with what describes them', async () => {
    const result = await client.query({ text: 'SELECT 1 AS a, 2 AS a', rowMode: 'array' })
    assert.deepEqual(result.rows, [[1, 2]])
    assert.deepEqual(result.fields.map((field) => [field.name, field.dataTypeID]), [['a', 23], ['a', 23]])
    assert.equal(result.command, 'SELECT')
    assert.equal(result.rowCount, 1)
  })

  it('requests queue up', async () => {
    const answers = await Promise.all(
      [...Array(200).keys()].map((n) => client.query('SELECT $1::int AS n', [n])),
    )
    assert.deepEqual(answers.map(({ rows }) => rows[0].n), [...Array(200).keys()])
  })

  it('requests in a pipeline', async () => {
    const piped = new pg.Client({ connectionString, pipeline: true })
    await piped.connect()
    try {
      const asked = [...Array(100).keys()].map((n) =>
        piped.query(n === 50 ? 'SELECT 1 / (n - n) FROM (SELECT $1::int AS n) t' : 'SELECT $1::int AS n', [n]),
      )
      const answers = await Promise.allSettled(asked)
      for (const [n, answer] of answers.entries()) {
        if (n === 50) assert.equal(answer.reason.code, '22012')
        else assert.equal(answer.value.rows[0].n, n)
      }
    } finally {
      await piped.end()
    }
  })
})

describe('transactions', () => {
  it('commit, roll back, fail', async () => {
    await fresh('nd_block', 'id int PRIMARY KEY')
    await client.query('BEGIN')
    await client.query('INSERT INTO nd_block VALUES (1)')
    await client.query('ROLLBACK')
    await client.query('BEGIN')
    await client.query('INSERT INTO nd_block VALUES (2)')
    await client.query('COMMIT')
    await client.query('BEGIN')
    assert.equal(await state('INSERT INTO nd_block VALUES (2)'), '23505')
    assert.equal(await state('SELECT 1'), '25P02')
    await client.query('ROLLBACK')
    const { rows } = await client.query('SELECT id FROM nd_block')
    assert.deepEqual(rows, [{ id: 2 }])
  })

  it('savepoints', async () => {
    await fresh('nd_saved', 'id int PRIMARY KEY')
    await client.query('BEGIN')
    await client.query('INSERT INTO nd_saved VALUES (1)')
    await client.query('SAVEPOINT one')
    assert.equal(await state('INSERT INTO nd_saved VALUES (1)'), '23505')
    await client.query('ROLLBACK TO one')
    await client.query('INSERT INTO nd_saved VALUES (2)')
    await client.query('COMMIT')
    const { rows } = await client.query('SELECT id FROM nd_saved ORDER BY id')
    assert.deepEqual(rows, [{ id: 1 }, { id: 2 }])
  })
})

describe('cursors and copies', () => {
  it('a portal is read piece by piece', async () => {
    const cursor = client.query(new Cursor('SELECT n FROM generate_series(1, $1) AS n', [1000]))
    const first = await cursor.read(10)
    assert.deepEqual(first.map((row) => row.n), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    let count = first.length
    for (;;) {
      const rows = await cursor.read(300)
      if (rows.length === 0) break
      count += rows.length
    }
    assert.equal(count, 1000)
    const left = client.query(new Cursor('SELECT n FROM generate_series(1, 1000) AS n'))
    await left.read(1)
    await left.close()
    assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1)
  })

  it('DECLARE and FETCH', async () => {
    await client.query('BEGIN')
    await client.query('DECLARE nd_cursor CURSOR FOR SELECT n FROM generate_series(1, 10) AS n')
    const { rows } = await client.query('FETCH 3 FROM nd_cursor')
    assert.deepEqual(rows, [{ n: 1 }, { n: 2 }, { n: 3 }])
    await client.query('CLOSE nd_cursor')
    await client.query('COMMIT')
  })

  it('COPY', async () => {
    await fresh('nd_copy', 'id int PRIMARY KEY, t text')
    const lines = [...Array(5000).keys()].map((n) => `${n}\trow ${n} 🐘\n`)
    await pipeline(Readable.from(lines), client.query(copyStreams.from('COPY nd_copy FROM STDIN')))
    const out = client.query(copyStreams.to('COPY (SELECT * FROM nd_copy ORDER BY id) TO STDOUT'))
    const pieces = []
    out.on('data', (piece) => pieces.push(piece))
    await finished(out)
    assert.equal(Buffer.concat(pieces).toString(), lines.join(''))
    const bad = pipeline(Readable.from(['x\ty\n']), client.query(copyStreams.from('COPY nd_copy FROM STDIN')))
    await assert.rejects(bad, { code: '22P02' })
  })
})

describe('messages', () => {
  it('notices', async () => {
    const heard = []
    const hear = (notice) => heard.push([notice.severity, notice.message])
    client.on('notice', hear)
    await client.query('DROP TABLE IF EXISTS nd_nothing')
    client.off('notice', hear)
    assert.deepEqual(heard, [['NOTICE', 'table "nd_nothing" does not exist, skipping']])
  })

  it('an error says what it is about', async () => {
    await fresh('nd_error', 'id int CONSTRAINT nd_key PRIMARY KEY')
    await client.query('INSERT INTO nd_error VALUES (1)')
    await assert.rejects(client.query('INSERT INTO nd_error VALUES (1)'), {
      code: '23505',
      schema: 'public',
      table: 'nd_error',
      constraint: 'nd_key',
      detail: 'Key (id)=(1) already exists.',
    })
    await assert.rejects(client.query('SELECT nothing'), { code: '42703', position: '8' })
  })

  it('cancelling, by another connection', async () => {
    const sleeper = new pg.Client({ connectionString })
    await sleeper.connect()
    try {
      const asleep = sleeper.query('SELECT pg_sleep(30)')
      const canceller = new pg.Client({ connectionString })
      setTimeout(() => canceller.cancel(sleeper, sleeper.activeQuery ?? sleeper._getActiveQuery()), 300)
      await assert.rejects(asleep, { code: '57014' })
      assert.equal((await sleeper.query('SELECT 1 AS one')).rows[0].one, 1)
    } finally {
      await sleeper.end()
    }
  })

  it('a statement takes too long', async () => {
    const hasty = new pg.Client({ connectionString, statement_timeout: 200 })
    await hasty.connect()
    try {
      await assert.rejects(hasty.query('SELECT pg_sleep(30)'), { code: '57014' })
    } finally {
      await hasty.end()
    }
  })

  it('a pool', async () => {
    const pool = new pg.Pool({ connectionString, max: 5, application_name: 'nd pool' })
    try {
      const answers = await Promise.all(
        [...Array(50).keys()].map((n) => pool.query('SELECT $1::int AS n, pg_sleep(0.01)', [n])),
      )
      assert.deepEqual(answers.map(({ rows }) => rows[0].n), [...Array(50).keys()])
      const { rows } = await pool.query('SHOW application_name')
      assert.deepEqual(rows, [{ application_name: 'nd pool' }])
    } finally {
      await pool.end()
    }
  })
})
