// node-postgres: parameters, named statements, a pool, transactions, errors.
'use strict'
const assert = require('node:assert')
const { Client, Pool } = require('pg')

const connectionString = process.env.DATABASE_URL

async function single () {
  const client = new Client({ connectionString })
  await client.connect()
  let { rows } = await client.query('SELECT id, name, tags, prefs FROM customers WHERE id <= $1 ORDER BY id', [3])
  assert.deepStrictEqual(rows.map(row => row.name), ['ALPHA_name_1', 'ALPHA_name_2', 'ALPHA_name_3'])
  assert.strictEqual(rows[0].prefs.theme, 'ALPHA_pref_1')
  for (let n = 1; n <= 8; n++) {
    ({ rows } = await client.query({ name: 'by-id', text: 'SELECT name FROM customers WHERE id = $1', values: [n] }))
    assert.strictEqual(rows[0].name, `ALPHA_name_${n}`)
  }
  await client.query('BEGIN')
  await client.query('INSERT INTO settings (k, v) VALUES ($1, $2)', ['node', 'x'])
  await client.query('ROLLBACK')
  assert.strictEqual((await client.query("SELECT * FROM settings WHERE k = 'node'")).rowCount, 0)
  const results = await client.query('SELECT 1 AS a; SELECT count(*)::int AS n FROM orders')
  assert.deepStrictEqual(results.map(result => result.rows[0]), [{ a: 1 }, { n: 15 }])
  await assert.rejects(client.query('SELECT pg_read_file($1)', ['/etc/passwd']), { code: '42501' })
  await assert.rejects(client.query('UPDATE settings SET tenant_id = $1', [2]), { code: '42501' })
  assert.strictEqual((await client.query({ text: 'SELECT max(id) FROM customers', rowMode: 'array' })).rows[0][0], '8')
  await client.end()
}

async function pooled () {
  const pool = new Pool({ connectionString, max: 5 })
  const other = new Pool({ connectionString: process.env.DATABASE_URL_B, max: 5 })
  const answers = await Promise.all([...Array(60).keys()].map(n =>
    (n % 2 ? other : pool).query('SELECT min(name) AS name FROM customers WHERE id >= $1', [0])))
  answers.forEach((answer, n) => assert.strictEqual(answer.rows[0].name, n % 2 ? 'CANARY_B_name_1' : 'ALPHA_name_1'))
  await Promise.all([pool.end(), other.end()])
}

async function listening () {
  const [client, other] = [new Client({ connectionString }), new Client({ connectionString: process.env.DATABASE_URL_B })]
  await Promise.all([client.connect(), other.connect()])
  const heard = new Promise(resolve => client.on('notification', resolve))
  await client.query('LISTEN node_jobs')
  await other.query("NOTIFY node_jobs, 'of another tenant'")
  await client.query('SELECT pg_notify($1, $2)', ['node_jobs', 'mine'])
  const { channel, payload } = await heard
  assert.deepStrictEqual([channel, payload], ['node_jobs', 'mine'])
  await client.query('UNLISTEN node_jobs')
  await Promise.all([client.end(), other.end()])
}

single().then(pooled).then(listening).then(() => console.log('all good'), error => { console.error(error); process.exit(1) })
