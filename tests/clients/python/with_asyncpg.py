"""asyncpg: the extended protocol and binary formats throughout."""

import asyncio
import datetime
import io
import json
import time
import unittest

import asyncpg

import harness
from harness import ARRAYS, LITERALS, ROUNDED, VALUES, D, same


class Connected(unittest.IsolatedAsyncioTestCase):
    """Tests over one connection."""

    async def asyncSetUp(self):
        self.connection = await asyncpg.connect(harness.dsn())
        self.addAsyncCleanup(self.connection.close)

    async def fresh(self, name, columns):
        await self.connection.execute(f"DROP TABLE IF EXISTS {name}")
        await self.connection.execute(f"CREATE TABLE {name} ({columns})")


class Types(Connected):
    """Every type, there and back in binary."""

    async def there_and_back(self, number, data_type, values):
        table = f"ap_types_{number}"
        await self.fresh(table, f"id int PRIMARY KEY, v {data_type}")
        for key, value in enumerate([None, *values]):
            await self.connection.execute(f"INSERT INTO {table} VALUES ($1, $2)", key, value)
        for key, value in enumerate([None, *values]):
            got = await self.connection.fetchval(f"SELECT v FROM {table} WHERE id = $1", key)
            if not same(got, value):
                self.fail(f"{data_type}: got {got!r:.200}, wanted {value!r:.200}")

    async def test_rounding(self):
        for number, (data_type, given, held) in enumerate(ROUNDED):
            with self.subTest(data_type):
                table = f"ap_rounded_{number}"
                await self.fresh(table, f"id int PRIMARY KEY, v {data_type}")
                await self.connection.execute(f"INSERT INTO {table} VALUES (1, $1)", given)
                await self.connection.copy_records_to_table(table, records=[(2, given)])
                for row in await self.connection.fetch(f"SELECT v FROM {table}"):
                    self.assertTrue(same(row["v"], held), row["v"])

    async def test_values(self):
        for number, (data_type, values) in enumerate(VALUES):
            with self.subTest(data_type):
                await self.there_and_back(number, data_type, values)

    async def test_arrays(self):
        for number, (data_type, values) in enumerate(ARRAYS):
            with self.subTest(data_type):
                await self.there_and_back(f"array_{number}", f"{data_type}[]", values)

    async def test_literals(self):
        for data_type, written, printed in LITERALS:
            with self.subTest(data_type, written=written[:40]):
                got = await self.connection.fetchval(
                    f"SELECT ($1::text::{data_type})::text", written
                )
                self.assertEqual(got, printed)

    async def test_what_python_has_no_value_for(self):
        """Infinities and numbers that the driver has its own values for."""
        for data_type, written, value in [
            ("numeric", "Infinity", D("Infinity")),
            ("numeric", "-Infinity", D("-Infinity")),
            ("date", "infinity", datetime.date.max),
            ("date", "-infinity", datetime.date.min),
            ("timestamp", "infinity", datetime.datetime.max),
            ("timestamp", "-infinity", datetime.datetime.min),
            ("interval", "1 year 2 mons", datetime.timedelta(days=365 + 60)),
        ]:
            with self.subTest(data_type, written=written):
                got = await self.connection.fetchval(f"SELECT $1::text::{data_type}", written)
                self.assertEqual(got, value)

    async def test_json_with_a_codec(self):
        for data_type in ("json", "jsonb"):
            raw = await self.connection.fetchval(f"SELECT $1::{data_type}", '{"a": 1}')
            self.assertEqual(raw, '{"a": 1}')
            await self.connection.set_type_codec(
                data_type, encoder=json.dumps, decoder=json.loads, schema="pg_catalog"
            )
            for document in [{}, [], 1, "text 🐘", {"a": [1, {"b": None}]}]:
                got = await self.connection.fetchval(f"SELECT $1::{data_type}", document)
                self.assertEqual(got, document)

    async def test_system_arrays(self):
        got = await self.connection.fetchrow(
            "SELECT ARRAY['a'::name, NULL], ARRAY[1::oid], ARRAY['x'::\"char\"], '1 2'::int2vector"
        )
        self.assertEqual(list(got), [["a", None], [1], [b"x"], [1, 2]])

    async def test_introspection_of_a_type(self):
        """The driver asks the catalog about types it does not know by itself."""
        got = await self.connection.fetchval("SELECT ARRAY['pg_class'::regclass::oid]")
        self.assertEqual(len(got), 1)
        row = await self.connection.fetchrow("SELECT ARRAY['pg_class'::regclass, NULL] AS classes")
        self.assertEqual(len(row["classes"]), 2)


class Statements(Connected):
    """Parameters, prepared statements, cursors."""

    async def test_prepared(self):
        statement = await self.connection.prepare("SELECT $1::int AS a, $2::text[] AS b")
        self.assertEqual([p.name for p in statement.get_parameters()], ["int4", "text[]"])
        self.assertEqual([(a.name, a.type.name) for a in statement.get_attributes()],
                         [("a", "int4"), ("b", "text[]")])
        for number in range(5):
            self.assertEqual(list(await statement.fetchrow(number, ["x"])), [number, ["x"]])

    async def test_many_parameters(self):
        count = 1000
        columns = ", ".join(f"${n + 1}::int" for n in range(count))
        got = await self.connection.fetchval(f"SELECT ARRAY[{columns}]", *range(count))
        self.assertEqual(got, list(range(count)))

    async def test_executemany(self):
        await self.fresh("ap_many", "id int PRIMARY KEY, t text")
        await self.connection.executemany(
            "INSERT INTO ap_many VALUES ($1, $2)", [(n, f"t{n}") for n in range(2000)]
        )
        self.assertEqual(await self.connection.fetchval("SELECT count(*) FROM ap_many"), 2000)
        with self.assertRaises(asyncpg.UniqueViolationError):
            await self.connection.executemany(
                "INSERT INTO ap_many VALUES ($1, $2)", [(5000, "x"), (0, "y"), (5001, "z")]
            )
        self.assertEqual(await self.connection.fetchval("SELECT count(*) FROM ap_many"), 2000)

    async def test_any(self):
        await self.fresh("ap_any", "id int PRIMARY KEY")
        await self.connection.executemany("INSERT INTO ap_any VALUES ($1)", [(n,) for n in range(50)])
        got = await self.connection.fetch(
            "SELECT id FROM ap_any WHERE id = ANY($1::int[]) ORDER BY id", [49, 3, 1000]
        )
        self.assertEqual([row["id"] for row in got], [3, 49])

    async def test_cursor(self):
        async with self.connection.transaction():
            numbers = []
            async for row in self.connection.cursor(
                "SELECT n FROM generate_series(1, $1) AS n", 1000, prefetch=30
            ):
                numbers.append(row["n"])
            self.assertEqual(numbers, list(range(1, 1001)))
            cursor = await self.connection.cursor("SELECT * FROM generate_series(1, 10)")
            self.assertEqual(len(await cursor.fetch(4)), 4)
            await cursor.forward(3)
            self.assertEqual((await cursor.fetchrow())[0], 8)

    async def test_a_schema_change_between_runs(self):
        await self.fresh("ap_change", "id int PRIMARY KEY, a text")
        await self.connection.execute("INSERT INTO ap_change VALUES (1, 'x')")
        query = "SELECT * FROM ap_change WHERE id = $1"
        self.assertEqual(list(await self.connection.fetchrow(query, 1)), [1, "x"])
        statement = await self.connection.prepare("SELECT a FROM ap_change WHERE id = $1")
        self.assertEqual(await statement.fetchval(1), "x")
        other = await asyncpg.connect(harness.dsn())
        await other.execute("ALTER TABLE ap_change ADD COLUMN b int DEFAULT 7")
        await other.close()
        # The driver sees the refusal of the old plan and prepares anew.
        self.assertEqual(list(await self.connection.fetchrow(query, 1)), [1, "x", 7])
        self.assertEqual(await statement.fetchval(1), "x")

    async def test_several_statements_in_a_text(self):
        await self.connection.execute(
            "DROP TABLE IF EXISTS ap_script; CREATE TABLE ap_script (id int PRIMARY KEY);"
            "INSERT INTO ap_script VALUES (1), (2);"
        )
        self.assertEqual(await self.connection.execute("DELETE FROM ap_script"), "DELETE 2")


class Copy(Connected):
    """COPY."""

    async def test_records(self):
        await self.fresh("ap_copy", "id int PRIMARY KEY, t text, n numeric, a int[]")
        records = [(n, f"t{n}", D(n) / 4, [n, None]) for n in range(5000)]
        status = await self.connection.copy_records_to_table("ap_copy", records=records)
        self.assertEqual(status, "COPY 5000")
        got = await self.connection.fetch("SELECT * FROM ap_copy ORDER BY id")
        self.assertEqual([tuple(row) for row in got], records)

    async def test_files(self):
        await self.fresh("ap_file", "id int PRIMARY KEY, t text")
        text = b'1,"quoted ""x"""\n2,\n'
        await self.connection.copy_to_table("ap_file", source=io.BytesIO(text), format="csv")
        out = io.BytesIO()
        await self.connection.copy_from_query(
            "SELECT * FROM ap_file WHERE id < $1 ORDER BY id", 10, output=out, format="csv"
        )
        self.assertEqual(out.getvalue(), text)
        out = io.BytesIO()
        await self.connection.copy_from_table("ap_file", output=out, format="binary")
        self.assertEqual(out.getvalue()[:11], b"PGCOPY\n\xff\r\n\0")


class Transactions(Connected):
    """Blocks, nested ones too."""

    async def test_blocks(self):
        await self.fresh("ap_block", "id int PRIMARY KEY")
        async with self.connection.transaction():
            await self.connection.execute("INSERT INTO ap_block VALUES (1)")
        with self.assertRaises(ZeroDivisionError):
            async with self.connection.transaction():
                await self.connection.execute("INSERT INTO ap_block VALUES (2)")
                raise ZeroDivisionError
        self.assertFalse(self.connection.is_in_transaction())
        self.assertEqual(await self.connection.fetchval("SELECT count(*) FROM ap_block"), 1)

    async def test_nested(self):
        await self.fresh("ap_nested", "id int PRIMARY KEY")
        async with self.connection.transaction():
            await self.connection.execute("INSERT INTO ap_nested VALUES (1)")
            with self.assertRaises(asyncpg.UniqueViolationError):
                async with self.connection.transaction():
                    await self.connection.execute("INSERT INTO ap_nested VALUES (2)")
                    await self.connection.execute("INSERT INTO ap_nested VALUES (1)")
            await self.connection.execute("INSERT INTO ap_nested VALUES (3)")
        got = await self.connection.fetch("SELECT id FROM ap_nested ORDER BY id")
        self.assertEqual([row["id"] for row in got], [1, 3])


class Messages(Connected):
    """Notices, errors, cancelling, pools."""

    async def test_notices(self):
        heard = []
        self.connection.add_log_listener(lambda _, message: heard.append(message))
        await self.connection.execute("DROP TABLE IF EXISTS ap_nothing")
        await asyncio.sleep(0.05)
        self.assertEqual(heard[0].message, 'table "ap_nothing" does not exist, skipping')

    async def test_an_error_says_what_it_is_about(self):
        await self.fresh("ap_error", "id int CONSTRAINT ap_key PRIMARY KEY")
        await self.connection.execute("INSERT INTO ap_error VALUES (1)")
        with self.assertRaises(asyncpg.UniqueViolationError) as caught:
            await self.connection.execute("INSERT INTO ap_error VALUES ($1)", 1)
        error = caught.exception
        self.assertEqual((error.table_name, error.constraint_name), ("ap_error", "ap_key"))
        self.assertEqual(error.detail, "Key (id)=(1) already exists.")

    async def test_cancel(self):
        started = time.monotonic()
        with self.assertRaises(asyncio.TimeoutError):
            await self.connection.fetch("SELECT pg_sleep(30)", timeout=0.3)
        self.assertLess(time.monotonic() - started, 10)
        self.assertEqual(await self.connection.fetchval("SELECT 1"), 1)

    async def test_a_pool_resets_its_connections(self):
        async with asyncpg.create_pool(harness.dsn(), min_size=2, max_size=4) as pool:
            async with pool.acquire() as connection:
                await connection.execute("SET client_min_messages = error")
            got = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(50)))
            self.assertEqual(got, list(range(50)))
            for _ in range(4):
                self.assertEqual(await pool.fetchval("SHOW client_min_messages"), "notice")


if __name__ == "__main__":
    harness.main()
