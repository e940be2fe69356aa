"""SQLAlchemy 2 with both psycopg drivers: connect, create, reflect, relate, query, migrate."""

import datetime
import decimal
import unittest
import uuid

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import orm
from sqlalchemy.dialects import postgresql

import harness


class Base(orm.DeclarativeBase):
    """The model's tables."""

    metadata = sa.MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


membership = sa.Table(
    "sa_membership",
    Base.metadata,
    sa.Column("person_id", sa.ForeignKey("sa_person.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("club_id", sa.ForeignKey("sa_club.id", ondelete="CASCADE"), primary_key=True),
)


class Person(Base):
    """Somebody."""

    __tablename__ = "sa_person"
    __table_args__ = (sa.CheckConstraint("height > 0", name="grown"),)

    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(50), unique=True)
    height: orm.Mapped[decimal.Decimal | None] = orm.mapped_column(sa.Numeric(6, 2))
    born: orm.Mapped[datetime.date | None]
    seen: orm.Mapped[datetime.datetime | None] = orm.mapped_column(
        sa.DateTime(timezone=True), server_default=sa.func.now(), index=True
    )
    active: orm.Mapped[bool] = orm.mapped_column(server_default=sa.true())
    token: orm.Mapped[uuid.UUID | None]
    picture: orm.Mapped[bytes | None]
    tags: orm.Mapped[list[str] | None] = orm.mapped_column(postgresql.ARRAY(sa.Text))
    notes: orm.Mapped[dict | None] = orm.mapped_column(sa.JSON)
    profile: orm.Mapped[dict | None] = orm.mapped_column(postgresql.JSONB)
    patience: orm.Mapped[datetime.timedelta | None]

    letters: orm.Mapped[list["Letter"]] = orm.relationship(
        back_populates="author", cascade="all, delete-orphan"
    )
    clubs: orm.Mapped[list["Club"]] = orm.relationship(
        secondary=membership, back_populates="people", order_by="Club.name"
    )


class Letter(Base):
    """What somebody wrote."""

    __tablename__ = "sa_letter"
    __table_args__ = (sa.Index("ix_sa_letter_sent_subject", "sent", "subject"),)

    id: orm.Mapped[int] = orm.mapped_column(sa.Identity(), primary_key=True)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("sa_person.id"))
    subject: orm.Mapped[str] = orm.mapped_column(sa.Text, server_default="(none)")
    sent: orm.Mapped[datetime.datetime | None]

    author: orm.Mapped[Person] = orm.relationship(back_populates="letters")


class Club(Base):
    """Where people meet."""

    __tablename__ = "sa_club"

    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(100))

    people: orm.Mapped[list[Person]] = orm.relationship(
        secondary=membership, back_populates="clubs"
    )


def engine(driver, **options):
    """An engine that speaks through `driver`."""
    url = sa.make_url(harness.dsn()).set(drivername=f"postgresql+{driver}")
    return sa.create_engine(url, **options)


class WithDriver:
    """The tests, for a driver."""

    driver = ""

    def setUp(self):
        self.engine = engine(self.driver)
        self.addCleanup(self.engine.dispose)
        with self.engine.begin() as connection:
            for table in ("sa_migrated", "alembic_version"):
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {table}")
        Base.metadata.drop_all(self.engine)
        Base.metadata.create_all(self.engine)

    def populate(self):
        with orm.Session(self.engine) as session:
            ada = Person(
                name="Ada",
                height=decimal.Decimal("1.65"),
                born=datetime.date(1815, 12, 10),
                token=uuid.UUID(int=7),
                picture=b"\x00\xff",
                tags=["first", "a, b", None],
                notes={"languages": ["en", "fr"], "née": "Byron"},
                profile={"skills": ["sums", "poetry"], "seen": {"times": 3}},
                patience=datetime.timedelta(days=1, seconds=30),
            )
            ada.letters = [
                Letter(subject="Notes", sent=datetime.datetime(1843, 7, 1, 12, 30)),
                Letter(),
            ]
            charles = Person(name="Charles", born=datetime.date(1791, 12, 26))
            charles.letters = [Letter(subject="Engine", sent=datetime.datetime(1842, 1, 1))]
            club = Club(id=2**40, name="Analytical Society")
            ada.clubs = [club]
            charles.clubs = [club, Club(id=2, name="Royal Society")]
            session.add_all([ada, charles])
            session.commit()

    def test_connect(self):
        with self.engine.connect() as connection:
            self.assertEqual(connection.scalar(sa.text("SELECT 1")), 1)
            self.assertEqual(connection.dialect.server_version_info[0], 15)
            self.assertEqual(connection.dialect.default_schema_name, "public")
            self.assertEqual(connection.scalar(sa.func.current_database()), self.engine.url.database)

    def test_values_come_back(self):
        self.populate()
        with orm.Session(self.engine) as session:
            ada = session.scalars(sa.select(Person).where(Person.name == "Ada")).one()
            self.assertEqual(ada.height, decimal.Decimal("1.65"))
            self.assertEqual(ada.born, datetime.date(1815, 12, 10))
            self.assertIs(ada.active, True)
            self.assertIsNotNone(ada.seen.tzinfo)
            self.assertEqual(ada.token, uuid.UUID(int=7))
            self.assertEqual(ada.picture, b"\x00\xff")
            self.assertEqual(ada.tags, ["first", "a, b", None])
            self.assertEqual(ada.notes, {"languages": ["en", "fr"], "née": "Byron"})
            self.assertEqual(ada.profile, {"skills": ["sums", "poetry"], "seen": {"times": 3}})
            self.assertEqual(ada.patience, datetime.timedelta(days=1, seconds=30))

    def test_relate(self):
        self.populate()
        with orm.Session(self.engine) as session:
            charles = session.scalars(sa.select(Person).where(Person.name == "Charles")).one()
            self.assertEqual([c.name for c in charles.clubs], ["Analytical Society", "Royal Society"])
            self.assertEqual([l.subject for l in charles.letters], ["Engine"])
            for load in (orm.joinedload, orm.selectinload, orm.subqueryload):
                people = session.scalars(
                    sa.select(Person).options(load(Person.letters)).order_by(Person.name)
                ).unique()
                got = [(p.name, sorted(l.subject for l in p.letters)) for p in people]
                self.assertEqual(got, [("Ada", ["(none)", "Notes"]), ("Charles", ["Engine"])])
                session.expunge_all()
            ada = session.scalars(sa.select(Person).where(Person.name == "Ada")).one()
            session.delete(ada)
            session.commit()
            self.assertEqual(session.scalar(sa.select(sa.func.count(Letter.id))), 1)
            self.assertEqual(session.scalar(sa.select(sa.func.count()).select_from(membership)), 2)

    def test_query(self):
        self.populate()
        with orm.Session(self.engine) as session:
            got = session.execute(
                sa.select(Person.name, sa.func.count(Letter.id).label("letters"))
                .outerjoin(Person.letters)
                .group_by(Person.name)
                .having(sa.func.count(Letter.id) > 0)
                .order_by(sa.desc("letters"))
            ).all()
            self.assertEqual([tuple(row) for row in got], [("Ada", 2), ("Charles", 1)])
            newest = (
                sa.select(Letter.author_id, sa.func.max(Letter.sent).label("at"))
                .group_by(Letter.author_id)
                .cte("newest")
            )
            got = session.scalars(
                sa.select(Person.name).join(newest, newest.c.author_id == Person.id).order_by(newest.c.at)
            ).all()
            self.assertEqual(got, ["Charles", "Ada"])
            got = session.scalars(
                sa.select(Person.name).where(
                    sa.exists().where(Letter.author_id == Person.id, Letter.subject.ilike("%NOTE%"))
                )
            ).all()
            self.assertEqual(got, ["Ada"])
            got = session.scalars(sa.select(Person.name).where(Person.name.in_(["Ada", "Eve"]))).all()
            self.assertEqual(got, ["Ada"])
            got = session.scalars(sa.select(Person.name).where(Person.tags.contains(["first"]))).all()
            self.assertEqual(got, ["Ada"])
            got = session.scalars(
                sa.select(Person.name).where(sa.literal("first") == sa.any_(Person.tags))
            ).all()
            self.assertEqual(got, ["Ada"])
            got = session.scalars(
                sa.select(Person.notes["languages"][1].as_string()).where(Person.notes.is_not(None))
            ).all()
            self.assertIn("fr", got)
            got = session.scalars(
                sa.select(Letter.subject)
                .ext(postgresql.distinct_on(Letter.author_id))
                .order_by(Letter.author_id, Letter.sent.desc().nulls_last())
            ).all()
            self.assertEqual(sorted(got), ["Engine", "Notes"])
            ranked = sa.func.row_number().over(
                partition_by=Letter.author_id, order_by=Letter.subject
            )
            got = session.execute(sa.select(Letter.subject, ranked).order_by(Letter.subject)).all()
            self.assertEqual([tuple(row) for row in got], [("(none)", 1), ("Engine", 1), ("Notes", 2)])
            counter = sa.select(sa.literal(1).label("n")).cte("counter", recursive=True)
            counter = counter.union_all(sa.select(counter.c.n + 1).where(counter.c.n < 5))
            got = session.scalars(sa.select(counter.c.n).order_by(counter.c.n)).all()
            self.assertEqual(got, [1, 2, 3, 4, 5])

    def test_documents(self):
        self.populate()
        profile = Person.profile
        with orm.Session(self.engine) as session:
            for condition in (
                profile.contains({"seen": {"times": 3}}),
                profile.has_key("skills"),
                profile.has_any(postgresql.array(["skills", "none"])),
                profile["seen"]["times"].as_integer() == 3,
                profile[("skills", "0")].as_string() == "sums",
                profile["skills"] == ["sums", "poetry"],
            ):
                got = session.scalars(sa.select(Person.name).where(condition)).all()
                self.assertEqual(got, ["Ada"])
            session.execute(
                sa.update(Person)
                .where(profile.is_not(None))
                .values(profile=profile.concat({"born": 1815}).delete_path(["seen", "times"]))
            )
            session.commit()
            got = session.scalars(sa.select(profile).where(profile.is_not(None))).all()
            self.assertEqual(got, [{"skills": ["sums", "poetry"], "seen": {}, "born": 1815}])

    def test_write(self):
        self.populate()
        with self.engine.begin() as connection:
            table = Club.__table__
            insert = postgresql.insert(table).values([{"id": 2, "name": "RS"}, {"id": 3, "name": "New"}])
            upsert = insert.on_conflict_do_update(
                index_elements=[table.c.id], set_={"name": insert.excluded.name}
            ).returning(table.c.id, table.c.name)
            got = sorted(tuple(row) for row in connection.execute(upsert))
            self.assertEqual(got, [(2, "RS"), (3, "New")])
            connection.execute(insert.on_conflict_do_nothing())
            connection.execute(table.insert(), [{"id": n, "name": f"c{n}"} for n in range(100, 1100)])
            updated = connection.execute(
                table.update().where(table.c.id.between(1000, 1099)).values(name=table.c.name + "!")
            )
            self.assertEqual(updated.rowcount, 100)
            deleted = connection.execute(table.delete().where(table.c.id.between(100, 199)))
            self.assertEqual(deleted.rowcount, 100)
        with self.assertRaises(sa.exc.IntegrityError), self.engine.begin() as connection:
            connection.execute(sa.insert(Person).values(id=100, name="Ada"))
        with self.engine.connect() as connection:
            self.assertEqual(
                connection.scalar(sa.select(sa.func.count()).select_from(Club.__table__)), 903
            )

    def test_many_objects_get_their_keys(self):
        with orm.Session(self.engine) as session:
            people = [Person(name=f"p{n}") for n in range(1500)]
            session.add_all(people)
            session.commit()
            self.assertEqual(len({person.id for person in people}), 1500)

    def test_savepoints(self):
        with orm.Session(self.engine) as session:
            session.add(Person(name="kept"))
            session.flush()
            with self.assertRaises(sa.exc.IntegrityError), session.begin_nested():
                session.add(Person(name="kept"))
                session.flush()
            session.commit()
            self.assertEqual(session.scalars(sa.select(Person.name)).all(), ["kept"])

    def test_streaming(self):
        with self.engine.connect() as connection:
            result = connection.execution_options(stream_results=True, max_row_buffer=100).execute(
                sa.text("SELECT n FROM generate_series(1, 2000) AS n")
            )
            self.assertEqual([row.n for row in result], list(range(1, 2001)))

    def test_isolation_levels(self):
        for level in ("AUTOCOMMIT", "READ COMMITTED"):
            with self.engine.connect().execution_options(isolation_level=level) as connection:
                self.assertEqual(connection.scalar(sa.text("SELECT 1")), 1)

    def test_reflect(self):
        inspector = sa.inspect(self.engine)
        tables = set(inspector.get_table_names())
        self.assertLessEqual({"sa_person", "sa_letter", "sa_club", "sa_membership"}, tables)
        self.assertTrue(inspector.has_table("sa_person"))
        self.assertFalse(inspector.has_table("sa_nobody"))
        self.assertIn("public", inspector.get_schema_names())
        columns = {c["name"]: c for c in inspector.get_columns("sa_person")}
        self.assertEqual(list(columns), list(Person.__table__.columns.keys()))
        types = {name: column["type"].compile(self.engine.dialect) for name, column in columns.items()}
        self.assertEqual(
            types,
            {
                "id": "INTEGER",
                "name": "VARCHAR(50)",
                "height": "NUMERIC(6, 2)",
                "born": "DATE",
                "seen": "TIMESTAMP WITH TIME ZONE",
                "active": "BOOLEAN",
                "token": "UUID",
                "picture": "BYTEA",
                "tags": "TEXT[]",
                "notes": "JSON",
                "profile": "JSONB",
                "patience": "INTERVAL",
            },
        )
        self.assertFalse(columns["name"]["nullable"])
        self.assertTrue(columns["born"]["nullable"])
        self.assertEqual(columns["seen"]["default"], "now()")
        self.assertEqual(columns["active"]["default"], "true")
        self.assertEqual(
            inspector.get_pk_constraint("sa_membership")["constrained_columns"],
            ["person_id", "club_id"],
        )
        self.assertEqual(inspector.get_pk_constraint("sa_person")["name"], "pk_sa_person")
        keys = inspector.get_foreign_keys("sa_membership")
        self.assertEqual(
            sorted((k["constrained_columns"], k["referred_table"], k["options"]) for k in keys),
            [(["club_id"], "sa_club", {"ondelete": "CASCADE"}),
             (["person_id"], "sa_person", {"ondelete": "CASCADE"})],
        )
        self.assertEqual(
            [(i["name"], i["column_names"], i["unique"]) for i in inspector.get_indexes("sa_letter")],
            [("ix_sa_letter_sent_subject", ["sent", "subject"], False)],
        )
        self.assertEqual(
            [(u["name"], u["column_names"]) for u in inspector.get_unique_constraints("sa_person")],
            [("uq_sa_person_name", ["name"])],
        )
        checks = inspector.get_check_constraints("sa_person")
        self.assertEqual([check["name"] for check in checks], ["ck_sa_person_grown"])
        self.assertIn("height > ", checks[0]["sqltext"])
        self.assertEqual(inspector.get_view_names(), [])

    def test_reflected_tables_are_used(self):
        self.populate()
        reflected = sa.MetaData()
        reflected.reflect(self.engine, only=["sa_person", "sa_letter"])
        person, letter = reflected.tables["sa_person"], reflected.tables["sa_letter"]
        with self.engine.connect() as connection:
            got = connection.execute(
                sa.select(person.c.name, letter.c.subject)
                .select_from(sa.join(letter, person))
                .order_by(letter.c.subject)
            ).all()
        self.assertEqual(
            [tuple(row) for row in got], [("Ada", "(none)"), ("Charles", "Engine"), ("Ada", "Notes")]
        )

    def test_the_model_compares_equal(self):
        """What alembic would do to bring the database to the model: nothing."""
        with self.engine.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={
                    "compare_type": True,
                    "compare_server_default": True,
                    "include_object": lambda o, name, kind, *_: kind != "table" or name.startswith("sa_"),
                },
            )
            self.assertEqual(compare_metadata(context, Base.metadata), [])

    def test_migrate(self):
        """Alembic's operations, one after the other, over rows that are there."""

        def migrate(change):
            with self.engine.begin() as connection:
                change(Operations(MigrationContext.configure(connection)))

        def rows(query):
            with self.engine.connect() as connection:
                return [tuple(row) for row in connection.execute(sa.text(query))]

        migrate(
            lambda op: op.create_table(
                "sa_migrated",
                sa.Column("id", sa.Integer, primary_key=True),
                sa.Column("name", sa.String(10), nullable=False),
                sa.Column("number", sa.Text),
            )
        )
        migrate(
            lambda op: op.bulk_insert(
                sa.table("sa_migrated", sa.column("id"), sa.column("name"), sa.column("number")),
                [{"id": n, "name": f"n{n}", "number": str(n * 10)} for n in range(1, 4)],
            )
        )
        migrate(
            lambda op: op.add_column(
                "sa_migrated", sa.Column("colour", sa.String(20), server_default="red", nullable=False)
            )
        )
        self.assertEqual(rows("SELECT DISTINCT colour FROM sa_migrated"), [("red",)])
        migrate(
            lambda op: op.add_column(
                "sa_migrated",
                sa.Column(
                    "made", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
                ),
            )
        )
        self.assertEqual(rows("SELECT count(made), count(DISTINCT made) FROM sa_migrated"), [(3, 1)])
        migrate(lambda op: op.alter_column("sa_migrated", "colour", new_column_name="color"))
        migrate(lambda op: op.alter_column("sa_migrated", "color", server_default=None, nullable=True))
        migrate(
            lambda op: op.alter_column(
                "sa_migrated", "number", type_=sa.Integer, postgresql_using="number::integer"
            )
        )
        self.assertEqual(rows("SELECT sum(number) FROM sa_migrated"), [(60,)])
        migrate(lambda op: op.alter_column("sa_migrated", "name", type_=sa.String(200)))
        migrate(lambda op: op.create_index("ix_migrated_number", "sa_migrated", ["number"]))
        migrate(lambda op: op.create_unique_constraint("uq_migrated_name", "sa_migrated", ["name"]))
        migrate(lambda op: op.create_check_constraint("ck_number", "sa_migrated", "number >= 10"))
        migrate(lambda op: op.add_column("sa_migrated", sa.Column("person_id", sa.Integer)))
        migrate(
            lambda op: op.create_foreign_key(
                "fk_person", "sa_migrated", "sa_person", ["person_id"], ["id"]
            )
        )
        with self.assertRaises(sa.exc.IntegrityError):
            migrate(lambda op: op.execute("UPDATE sa_migrated SET person_id = 7"))
        migrate(lambda op: op.execute("UPDATE sa_migrated SET name = name || repeat('!', 50)"))
        with self.assertRaises(sa.exc.IntegrityError):
            migrate(lambda op: op.execute("UPDATE sa_migrated SET number = 1 WHERE id = 1"))
        migrate(lambda op: op.drop_constraint("ck_number", "sa_migrated"))
        migrate(lambda op: op.drop_constraint("uq_migrated_name", "sa_migrated"))
        migrate(lambda op: op.drop_index("ix_migrated_number"))
        migrate(lambda op: op.drop_constraint("fk_person", "sa_migrated"))
        migrate(lambda op: op.drop_column("sa_migrated", "color"))
        migrate(lambda op: op.drop_column("sa_migrated", "made"))
        migrate(lambda op: op.rename_table("sa_migrated", "sa_migrated_2"))
        self.assertEqual(
            [c["name"] for c in sa.inspect(self.engine).get_columns("sa_migrated_2")],
            ["id", "name", "number", "person_id"],
        )
        migrate(lambda op: op.rename_table("sa_migrated_2", "sa_migrated"))
        migrate(lambda op: op.drop_table("sa_migrated"))

    def test_alembic_keeps_its_version(self):
        with self.engine.begin() as connection:
            context = MigrationContext.configure(connection)
            self.assertIsNone(context.get_current_revision())
            context._ensure_version_table()
        with self.engine.connect() as connection:
            self.assertIn("alembic_version", sa.inspect(connection).get_table_names())


class WithPsycopg3(WithDriver, unittest.TestCase):
    """psycopg 3."""

    driver = "psycopg"


class WithPsycopg2(WithDriver, unittest.TestCase):
    """psycopg 2."""

    driver = "psycopg2"


if __name__ == "__main__":
    harness.main()
