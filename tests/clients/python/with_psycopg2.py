"""psycopg 2: parameters are written into the statement, so that every type goes as text."""

import datetime
import io
import threading
import time
import unittest

import psycopg2
import psycopg2.extensions
import psycopg2.extras
from psycopg2 import errors, sql

import harness
from harness import ARRAYS, LITERALS, ROUNDED, VALUES, same

psycopg2.extras.register_uuid()


class Connected(unittest.TestCase):
    """Tests over one connection that commits each statement."""

    def setUp(self):
        self.connection = psycopg2.connect(harness.dsn())
        self.connection.autocommit = True
        self.addCleanup(self.connection.close)
        self.cursor = self.connection.cursor()

    def rows(self, query, parameters=None):
        self.cursor.execute(query, parameters)
        return self.cursor.fetchall()

    def fresh(self, name, columns):
        self.cursor.execute(f"DROP TABLE IF EXISTS {name}")
        self.cursor.execute(f"CREATE TABLE {name} ({columns})")


class Types(Connected):
    """Every type, there and back."""

    def there_and_back(self, data_type, values):
        self.fresh("p2_types", f"id int PRIMARY KEY, v {data_type}")
        for number, value in enumerate([None, *values]):
            self.cursor.execute("INSERT INTO p2_types VALUES (%s, %s)", (number, value))
        for number, value in enumerate([None, *values]):
            got = self.rows("SELECT v FROM p2_types WHERE id = %s", (number,))[0][0]
            if not same(self.plain(got), value):
                self.fail(f"{data_type}: got {got!r:.200}, wanted {value!r:.200}")

    def plain(self, value):
        """The driver gives bytes as memoryviews."""
        if isinstance(value, list):
            return [self.plain(element) for element in value]
        return bytes(value) if isinstance(value, memoryview) else value

    def test_values(self):
        for data_type, values in VALUES:
            with self.subTest(data_type):
                # -0.0 in a statement is a numeric 0.0 that is negated, which has no sign.
                self.there_and_back(data_type, [v for v in values if str(v) != "-0.0"])

    def test_rounding(self):
        for data_type, given, held in ROUNDED:
            with self.subTest(data_type):
                self.fresh("p2_rounded", f"v {data_type}")
                self.cursor.execute("INSERT INTO p2_rounded VALUES (%s)", (given,))
                self.assertTrue(same(self.rows("SELECT v FROM p2_rounded")[0][0], held))

    def test_arrays(self):
        for data_type, values in ARRAYS:
            if data_type in ("bytea", "uuid"):
                # The driver reads arrays of these as text.
                continue
            with self.subTest(data_type):
                # An empty array is written '{}', a null in it NULL: neither says its type.
                self.there_and_back(f"{data_type}[]", values)

    def test_literals(self):
        for data_type, written, printed in LITERALS:
            with self.subTest(data_type, written=written[:40]):
                got = self.rows(f"SELECT %s::{data_type}::text", (written,))
                self.assertEqual(got[0][0], printed)

    def test_json(self):
        for document in [{}, [], 1, "text 🐘", {"a": [1, {"b": None}], "č": "x\ny"}]:
            got = self.rows("SELECT %(v)s::json, %(v)s::jsonb", {"v": psycopg2.extras.Json(document)})
            self.assertEqual(got[0], (document, document))


class Statements(Connected):
    """Parameters, many rows, several statements at once."""

    def test_parameters(self):
        got = self.rows(
            "SELECT %(text)s, %(number)s, %(none)s::int, %(list)s, %(when)s",
            {
                "text": "it's \\ 🐘 %",
                "number": 1.5,
                "none": None,
                "list": [1, 2],
                "when": datetime.date(2024, 2, 29),
            },
        )
        self.assertEqual(
            got, [("it's \\ 🐘 %", harness.D("1.5"), None, [1, 2], datetime.date(2024, 2, 29))]
        )

    def test_in_and_any(self):
        self.fresh("p2_in", "id int PRIMARY KEY")
        psycopg2.extras.execute_values(
            self.cursor, "INSERT INTO p2_in VALUES %s", [(n,) for n in range(500)]
        )
        got = self.rows("SELECT id FROM p2_in WHERE id IN %s ORDER BY id", ((3, 5, 999),))
        self.assertEqual(got, [(3,), (5,)])
        got = self.rows("SELECT id FROM p2_in WHERE id = ANY(%s) ORDER BY id", ([3, 5, 999],))
        self.assertEqual(got, [(3,), (5,)])

    def test_batches(self):
        self.fresh("p2_batch", "id int PRIMARY KEY, t text")
        psycopg2.extras.execute_batch(
            self.cursor, "INSERT INTO p2_batch VALUES (%s, %s)", [(n, f"t{n}") for n in range(300)]
        )
        self.assertEqual(self.rows("SELECT count(*), max(id) FROM p2_batch"), [(300, 299)])

    def test_composed(self):
        self.fresh('"p2 odd ""name"', "id int PRIMARY KEY")
        query = sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(
            sql.Identifier("id"), sql.Identifier('p2 odd "name'), sql.Identifier("id")
        )
        self.assertEqual(self.rows(query, (1,)), [])

    def test_described_columns(self):
        self.cursor.execute("SELECT 1::numeric(10,3) AS a, 'x'::varchar(7) AS b")
        got = [(c.name, c.type_code, c.precision, c.scale) for c in self.cursor.description]
        self.assertEqual(got, [("a", 1700, 10, 3), ("b", 1043, None, None)])


class Copy(Connected):
    """COPY."""

    def test_there_and_back(self):
        self.fresh("p2_copy", "id int PRIMARY KEY, t text")
        text = "1\tplain\n2\t\\N\n3\ttab\\t nl\\n bs\\\\ 🐘\n"
        self.cursor.copy_expert("COPY p2_copy FROM STDIN", io.StringIO(text))
        self.assertEqual(self.cursor.rowcount, 3)
        out = io.StringIO()
        self.cursor.copy_expert("COPY (SELECT * FROM p2_copy ORDER BY id) TO STDOUT", out)
        self.assertEqual(out.getvalue(), text)
        self.cursor.copy_from(io.StringIO("4,x\n"), "p2_copy", sep=",", columns=("id", "t"))
        out = io.StringIO()
        self.cursor.copy_to(out, "p2_copy", columns=("t",))
        self.assertEqual(len(out.getvalue().splitlines()), 4)

    def test_an_error(self):
        self.fresh("p2_copy", "id int PRIMARY KEY, t text")
        with self.assertRaises(errors.BadCopyFileFormat):
            self.cursor.copy_expert("COPY p2_copy FROM STDIN", io.StringIO("1\tx\n2\n"))
        self.assertEqual(self.rows("SELECT count(*) FROM p2_copy"), [(0,)])


class Transactions(Connected):
    """Blocks and levels."""

    def test_commit_and_rollback(self):
        self.fresh("p2_block", "id int PRIMARY KEY")
        self.connection.autocommit = False
        self.cursor.execute("INSERT INTO p2_block VALUES (1)")
        self.connection.rollback()
        self.cursor.execute("INSERT INTO p2_block VALUES (2)")
        self.connection.commit()
        self.assertEqual(self.rows("SELECT id FROM p2_block"), [(2,)])
        with self.assertRaises(errors.UndefinedColumn):
            self.cursor.execute("SELECT nothing FROM p2_block")
        with self.assertRaises(errors.InFailedSqlTransaction):
            self.cursor.execute("SELECT 1")
        status = self.connection.get_transaction_status()
        self.assertEqual(status, psycopg2.extensions.TRANSACTION_STATUS_INERROR)
        self.connection.rollback()

    def test_read_only(self):
        self.fresh("p2_read", "id int PRIMARY KEY")
        self.connection.autocommit = False
        self.connection.set_session(readonly=True)
        with self.assertRaises(errors.ReadOnlySqlTransaction):
            self.cursor.execute("INSERT INTO p2_read VALUES (1)")
        self.connection.rollback()


class Cursors(Connected):
    """Server-side cursors."""

    def test_named(self):
        self.connection.autocommit = False
        with self.connection.cursor(name="p2 cursor") as cursor:
            cursor.itersize = 100
            cursor.execute("SELECT n FROM generate_series(1, %s) AS n", (1000,))
            self.assertEqual(cursor.fetchone(), (1,))
            self.assertEqual([row[0] for row in cursor], list(range(2, 1001)))
        self.connection.commit()

    def test_scrolling(self):
        self.connection.autocommit = False
        with self.connection.cursor(name="p2_scroll", scrollable=True) as cursor:
            cursor.execute("SELECT n FROM generate_series(1, 10) AS n")
            cursor.scroll(4)
            self.assertEqual(cursor.fetchone(), (5,))
            cursor.scroll(-2)
            self.assertEqual(cursor.fetchone(), (4,))
        self.connection.commit()

    def test_with_hold(self):
        self.connection.autocommit = False
        cursor = self.connection.cursor(name="p2_hold", withhold=True)
        cursor.execute("SELECT n FROM generate_series(1, 3) AS n")
        self.connection.commit()
        self.assertEqual(cursor.fetchall(), [(1,), (2,), (3,)])
        cursor.close()
        self.connection.commit()


class Messages(Connected):
    """Notices, errors, cancelling."""

    def test_notices(self):
        self.cursor.execute("DROP TABLE IF EXISTS p2_nothing")
        self.assertEqual(
            self.connection.notices, ['NOTICE:  table "p2_nothing" does not exist, skipping\n']
        )

    def test_an_error_says_what_it_is_about(self):
        self.fresh("p2_error", "id int CONSTRAINT p2_key PRIMARY KEY, n int NOT NULL")
        self.cursor.execute("INSERT INTO p2_error VALUES (1, 1)")
        with self.assertRaises(errors.UniqueViolation) as caught:
            self.cursor.execute("INSERT INTO p2_error VALUES (1, 1)")
        self.assertEqual(caught.exception.diag.constraint_name, "p2_key")
        self.assertEqual(caught.exception.pgcode, "23505")
        with self.assertRaises(errors.NotNullViolation) as caught:
            self.cursor.execute("INSERT INTO p2_error VALUES (2, NULL)")
        self.assertEqual(caught.exception.diag.column_name, "n")

    def test_cancel(self):
        timer = threading.Timer(0.3, self.connection.cancel)
        timer.start()
        started = time.monotonic()
        with self.assertRaises(errors.QueryCanceled):
            self.cursor.execute("SELECT pg_sleep(30)")
        self.assertLess(time.monotonic() - started, 10)
        timer.join()
        self.assertEqual(self.rows("SELECT 1"), [(1,)])

    def test_encoding(self):
        self.assertEqual(self.connection.encoding, "UTF8")
        self.assertEqual(self.connection.server_version // 10000, 15)


if __name__ == "__main__":
    harness.main()
