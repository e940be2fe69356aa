//! tokio-postgres.

use super::subject;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use futures::{SinkExt, StreamExt, TryStreamExt, future};
use std::error::Error;
use std::time::Duration;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{
    Date, FromSql, IsNull, Json, PgLsn, Timestamp, ToSql, Type, accepts, to_sql_checked,
};
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, SimpleQueryMessage, Socket};
use uuid::Uuid;

/// Runs a test over one connection, whose other half runs beside it.
fn connected<F>(test: impl FnOnce(Client, String) -> F)
where
    F: Future<Output = Result<(), tokio_postgres::Error>>,
{
    let subject = subject();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let (client, connection) = connect(&subject.url).await;
        tokio::spawn(connection);
        test(client, subject.url.clone()).await.expect("the test's statements succeed");
    });
}

async fn connect(url: &str) -> (Client, Connection<Socket, tokio_postgres::tls::NoTlsStream>) {
    tokio_postgres::connect(url, NoTls).await.expect("a connection")
}

async fn fresh(client: &Client, name: &str, columns: &str) -> Result<(), tokio_postgres::Error> {
    let text = format!("DROP TABLE IF EXISTS {name}; CREATE TABLE {name} ({columns})");
    client.batch_execute(&text).await
}

/// The SQLSTATE of a failure.
fn state<T>(result: Result<T, tokio_postgres::Error>) -> String {
    match result {
        Ok(_) => panic!("this should fail"),
        Err(error) => error.code().unwrap_or_else(|| panic!("{error}")).code().to_owned(),
    }
}

/// Sends values of a column of this type, and reads them back.
async fn there_and_back<T>(
    client: &Client,
    data_type: &str,
    values: &[T],
) -> Result<(), tokio_postgres::Error>
where
    T: ToSql + Sync + PartialEq + std::fmt::Debug + for<'a> FromSql<'a>,
{
    let name = format!("rs_{}", data_type.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    fresh(client, &name, &format!("id int PRIMARY KEY, v {data_type}")).await?;
    let insert = client.prepare(&format!("INSERT INTO {name} VALUES ($1, $2)")).await?;
    let select = client.prepare(&format!("SELECT v FROM {name} WHERE id = $1")).await?;
    client.execute(&insert, &[&-1, &None::<T>]).await?;
    let nothing: Option<T> = client.query_one(&select, &[&-1]).await?.get(0);
    assert!(nothing.is_none(), "{data_type}");
    for (id, value) in (0i32..).zip(values) {
        client.execute(&insert, &[&id, value]).await?;
        let read: T = client.query_one(&select, &[&id]).await?.get(0);
        assert_eq!(read, *value, "{data_type}");
    }
    Ok(())
}

#[test]
fn values_there_and_back() {
    connected(|client, _| async move {
        let c = &client;
        there_and_back(c, "boolean", &[true, false]).await?;
        there_and_back(c, "smallint", &[i16::MIN, 0, i16::MAX]).await?;
        there_and_back(c, "integer", &[i32::MIN, 0, i32::MAX]).await?;
        there_and_back(c, "bigint", &[i64::MIN, 0, i64::MAX]).await?;
        let floats = [0.0, f32::MIN_POSITIVE, f32::MAX, f32::NEG_INFINITY, 0.1];
        there_and_back(c, "real", &floats).await?;
        let floats = [0.0, 5e-324, f64::MAX, f64::INFINITY, 0.1];
        there_and_back(c, "double precision", &floats).await?;
        let long = "🐘".repeat(50_000);
        let texts = ["", " ", "quote ' \\ $1", "žluťoučký\n\t", &long].map(str::to_owned);
        there_and_back(c, "text", &texts).await?;
        there_and_back(c, "varchar(5)", &["🐘🐘🐘🐘🐘".to_owned()]).await?;
        there_and_back(c, "char(5)", &["abc  ".to_owned()]).await?;
        there_and_back(c, "name", &["identifier".to_owned()]).await?;
        let bytes = [vec![], vec![0_u8], (0..=255).collect(), vec![7; 100_000]];
        there_and_back(c, "bytea", &bytes).await?;
        there_and_back(c, "oid", &[0, u32::MAX]).await?;
        there_and_back(c, "uuid", &[Uuid::nil(), Uuid::max()]).await?;
        let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).expect("a day");
        let days = [day(-4712, 1, 1), day(1, 1, 1), day(2024, 2, 29), day(262_000, 12, 31)];
        there_and_back(c, "date", &days).await?;
        let forever = [Date::NegInfinity, Date::Value(day(2000, 1, 1)), Date::PosInfinity];
        there_and_back(c, "date", &forever).await?;
        let clock = |h, m, s, u| NaiveTime::from_hms_micro_opt(h, m, s, u).expect("a time");
        let times = [clock(0, 0, 0, 0), clock(23, 59, 59, 999_999)];
        there_and_back(c, "time", &times).await?;
        let moments = days.map(|day| day.and_time(clock(12, 34, 56, 1)));
        there_and_back::<NaiveDateTime>(c, "timestamp", &moments).await?;
        let forever =
            [Timestamp::NegInfinity, Timestamp::Value(moments[1]), Timestamp::PosInfinity];
        there_and_back(c, "timestamp", &forever).await?;
        let zoned = moments.map(|moment| moment.and_utc());
        there_and_back::<DateTime<Utc>>(c, "timestamptz", &zoned).await?;
        let documents = [
            serde_json::json!({"a": [1, {"b": null}], "č": "x\ny"}),
            serde_json::json!([]),
            serde_json::json!("text"),
        ];
        there_and_back(c, "json", &documents).await?;
        there_and_back(c, "jsonb", &documents).await?;
        there_and_back(c, "jsonb", &[Json(vec![1, 2, 3])]).await?;
        there_and_back(c, "json", &[Json(vec![1, 2, 3])]).await?;
        Ok(())
    });
}

/// A value as it travels, of types that this driver has none for.
#[derive(Debug, PartialEq)]
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_type: &Type, raw: &'a [u8]) -> Result<Raw, Box<dyn Error + Sync + Send>> {
        Ok(Raw(raw.to_vec()))
    }

    accepts!(NUMERIC, TIMETZ);
}

impl ToSql for Raw {
    fn to_sql(
        &self,
        _type: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    accepts!(NUMERIC, TIMETZ);
    to_sql_checked!();
}

#[test]
fn numbers_without_digits_there_and_back() {
    connected(|client, _| async move {
        let special = |sign: u8, scale: u8| Raw(vec![0, 0, 0, 0, sign, 0, 0, scale]);
        let (nan, infinity, below) = (special(0xc0, 0), special(0xd0, 0x20), special(0xf0, 0x20));
        for (number, text) in [(&nan, "NaN"), (&infinity, "Infinity"), (&below, "-Infinity")] {
            let row = client.query_one("SELECT $1::numeric::text", &[number]).await?;
            assert_eq!(row.get::<_, String>(0), text);
        }
        let refused = client.query_one("SELECT $1::numeric(5, 2)", &[&infinity]).await;
        assert_eq!(state(refused), "22003");
        there_and_back(&client, "numeric", &[nan, infinity, below]).await?;
        there_and_back(&client, "numeric(5, 2)", &[special(0xc0, 0)]).await
    });
}

#[test]
fn times_with_zones_there_and_back() {
    connected(|client, _| async move {
        let raw =
            |micros: i64, zone: i32| Raw([&micros.to_be_bytes()[..], &zone.to_be_bytes()].concat());
        let noon = raw(43_200_000_000, -7_200);
        let row = client.query_one("SELECT $1::timetz::text", &[&noon]).await?;
        assert_eq!(row.get::<_, String>(0), "12:00:00+02");
        let refused = client.query_one("SELECT $1::timetz", &[&raw(0, 57_600)]).await;
        assert_eq!(state(refused), "22009");
        let refused = client.query_one("SELECT $1::timetz", &[&raw(86_400_000_001, 0)]).await;
        assert_eq!(state(refused), "22008");
        let ends = [noon, raw(0, 57_599), raw(86_400_000_000, -57_599)];
        there_and_back(&client, "timetz", &ends).await
    });
}

#[test]
fn times_of_fewer_digits_are_rounded() {
    connected(|client, _| async move {
        let columns = "a timestamp(3), b timestamptz(0), c time(1), d timetz(0)";
        fresh(&client, "rs_rounded", columns).await?;
        let moment = |micro| {
            let day = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
            day.and_hms_micro_opt(12, 34, 56, micro).expect("a time")
        };
        let zoned =
            |micros: i64| Raw([&micros.to_be_bytes()[..], &3_600_i32.to_be_bytes()].concat());
        let insert = "INSERT INTO rs_rounded VALUES ($1, $2, $3, $4)";
        let given = moment(123_456);
        let time = given.time();
        client.execute(insert, &[&given, &given.and_utc(), &time, &zoned(999_999)]).await?;
        let statement = client.prepare("SELECT * FROM rs_rounded").await?;
        let modifiers: Vec<i32> = statement.columns().iter().map(|c| c.type_modifier()).collect();
        assert_eq!(modifiers, [3, 0, 1, 0]);
        let row = client.query_one(&statement, &[]).await?;
        assert_eq!(row.get::<_, NaiveDateTime>(0), moment(123_000));
        assert_eq!(row.get::<_, DateTime<Utc>>(1), moment(0).and_utc());
        assert_eq!(row.get::<_, NaiveTime>(2), moment(100_000).time());
        assert_eq!(row.get::<_, Raw>(3), zoned(1_000_000));
        Ok(())
    });
}

#[test]
fn arrays_there_and_back() {
    connected(|client, _| async move {
        let c = &client;
        let numbers = [vec![], vec![None], vec![Some(i32::MIN), None, Some(i32::MAX)]];
        there_and_back(c, "integer[]", &numbers).await?;
        there_and_back(c, "bigint[]", &[vec![Some(i64::MIN), None]]).await?;
        there_and_back(c, "boolean[]", &[vec![Some(true), None]]).await?;
        there_and_back(c, "double precision[]", &[vec![Some(0.5), None]]).await?;
        let texts = ["", "NULL", "quote \" \\", "comma,{brace}", "🐘"];
        let texts = texts.map(|text| Some(text.to_owned())).into_iter().chain([None]);
        there_and_back(c, "text[]", &[texts.collect::<Vec<_>>()]).await?;
        there_and_back(c, "bytea[]", &[vec![Some(vec![0u8, 255]), None]]).await?;
        there_and_back(c, "uuid[]", &[vec![Some(Uuid::max()), None]]).await?;
        Ok(())
    });
}

#[test]
fn parameters_and_their_types() {
    connected(|client, _| async move {
        let statement =
            client.prepare("SELECT $1::int + $1, $2::text || 'x', $3 < now() AS past").await?;
        assert_eq!(statement.params(), [Type::INT4, Type::TEXT, Type::TIMESTAMPTZ]);
        let columns: Vec<_> =
            statement.columns().iter().map(|c| (c.name(), c.type_().clone())).collect();
        let wanted = [("?column?", Type::INT4), ("?column?", Type::TEXT), ("past", Type::BOOL)];
        assert_eq!(columns, wanted);
        let now = DateTime::<Utc>::UNIX_EPOCH;
        let row = client.query_one(&statement, &[&21, &"y", &now]).await?;
        assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (42, "yx"));
        assert!(row.get::<_, bool>("past"));
        // Declared by the client.
        let statement = client.prepare_typed("SELECT $1", &[Type::INT8]).await?;
        assert_eq!(client.query_one(&statement, &[&7i64]).await?.get::<_, i64>(0), 7);
        fresh(&client, "rs_any", "id int PRIMARY KEY").await?;
        client.execute("INSERT INTO rs_any SELECT generate_series(1, 100)", &[]).await?;
        let keys: &[i32] = &[3, 99, 500];
        let text = "SELECT id FROM rs_any WHERE id = ANY($1) ORDER BY id";
        let ids: Vec<i32> =
            client.query(text, &[&keys]).await?.iter().map(|row| row.get(0)).collect();
        assert_eq!(ids, [3, 99]);
        // A type that the driver knows and the server has not.
        let sent = client.query("SELECT $1::text", &[&PgLsn::from(7)]).await;
        assert!(sent.is_err());
        Ok(())
    });
}

#[test]
fn requests_are_pipelined() {
    connected(|client, _| async move {
        let double = client.prepare("SELECT $1::int * 2").await?;
        let asked: Vec<i32> = (0..500).collect();
        let answers = asked.iter().map(|number| {
            let (client, double) = (&client, &double);
            async move { client.query_one(double, &[number]).await.map(|row| row.get::<_, i32>(0)) }
        });
        let answers = future::try_join_all(answers).await?;
        assert_eq!(answers, asked.iter().map(|number| number * 2).collect::<Vec<_>>());
        // One that fails takes none of the others with it.
        let divide = client.prepare("SELECT 1 / $1::int").await?;
        let answers = [1, 0, 1].map(|by| {
            let (client, divide) = (&client, &divide);
            async move { client.query_one(divide, &[&by]).await }
        });
        let [first, second, third] =
            future::join_all(answers).await.try_into().unwrap_or_else(|_| panic!("three answers"));
        assert!(first.is_ok() && third.is_ok());
        assert_eq!(state(second), "22012");
        Ok(())
    });
}

#[test]
fn transactions_and_portals() {
    connected(|mut client, _| async move {
        fresh(&client, "rs_block", "id int PRIMARY KEY").await?;
        let block = client.transaction().await?;
        block.execute("INSERT INTO rs_block VALUES (1)", &[]).await?;
        block.rollback().await?;
        let mut block = client.transaction().await?;
        block.execute("INSERT INTO rs_block VALUES (2)", &[]).await?;
        let inner = block.transaction().await?;
        inner.execute("INSERT INTO rs_block VALUES (3)", &[]).await?;
        assert_eq!(state(inner.execute("INSERT INTO rs_block VALUES (2)", &[]).await), "23505");
        inner.rollback().await?;
        block.commit().await?;
        let rows = client.query("SELECT id FROM rs_block", &[]).await?;
        assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i32>>(), [2]);
        let block = client.transaction().await?;
        let portal = block.bind("SELECT generate_series(1, 1000)", &[]).await?;
        let mut read = 0;
        loop {
            let rows = block.query_portal(&portal, 300).await?;
            if rows.is_empty() {
                break;
            }
            read += rows.len();
        }
        assert_eq!(read, 1000);
        block.commit().await?;
        let block = client.build_transaction().read_only(true).start().await?;
        assert_eq!(state(block.execute("INSERT INTO rs_block VALUES (9)", &[]).await), "25006");
        block.rollback().await
    });
}

#[test]
fn copies() {
    connected(|client, _| async move {
        fresh(&client, "rs_copy", "id int PRIMARY KEY, t text").await?;
        let sink = client.copy_in("COPY rs_copy FROM STDIN").await?;
        let mut sink = std::pin::pin!(sink);
        let mut sent = String::new();
        for id in 0..5_000 {
            let line = format!("{id}\trow {id} 🐘\n");
            sent.push_str(&line);
            sink.send(bytes::Bytes::from(line)).await?;
        }
        assert_eq!(sink.finish().await?, 5_000);
        let text = "COPY (SELECT * FROM rs_copy ORDER BY id) TO STDOUT";
        let pieces: Vec<_> = client.copy_out(text).await?.try_collect().await?;
        assert_eq!(pieces.concat(), sent.as_bytes());
        // In binary: the driver reads and writes the values itself.
        let text = "COPY rs_copy FROM STDIN (FORMAT BINARY)";
        client.batch_execute("DELETE FROM rs_copy").await?;
        let types = [Type::INT4, Type::TEXT];
        let writer = BinaryCopyInWriter::new(client.copy_in(text).await?, &types);
        let mut writer = std::pin::pin!(writer);
        let rows = [(1_i32, Some("row 🐘\t")), (2, None), (3, Some(""))];
        for (id, t) in &rows {
            writer.as_mut().write(&[id, t]).await?;
        }
        assert_eq!(writer.finish().await?, 3);
        let text = "COPY (SELECT * FROM rs_copy ORDER BY id) TO STDOUT (FORMAT BINARY)";
        let read = BinaryCopyOutStream::new(client.copy_out(text).await?, &types);
        let read: Vec<_> = read.try_collect().await?;
        let read: Vec<_> = read.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(read, rows);
        let sink = client.copy_in("COPY rs_copy FROM STDIN").await?;
        let mut sink = std::pin::pin!(sink);
        sink.send(bytes::Bytes::from_static(b"x\ty\n")).await?;
        assert_eq!(state(sink.finish().await), "22P02");
        Ok(())
    });
}

#[test]
fn prepared_statements_outlive_schema_changes() {
    connected(|client, _| async move {
        fresh(&client, "rs_change", "id int PRIMARY KEY, a text").await?;
        client.execute("INSERT INTO rs_change VALUES (1, 'x')", &[]).await?;
        let named = client.prepare("SELECT a FROM rs_change WHERE id = $1").await?;
        let star = client.prepare("SELECT * FROM rs_change").await?;
        let write = client.prepare("UPDATE rs_change SET a = $2 WHERE id = $1").await?;
        client.batch_execute("ALTER TABLE rs_change ADD COLUMN b int NOT NULL DEFAULT 7").await?;
        assert_eq!(client.execute(&write, &[&1, &"y"]).await?, 1);
        assert_eq!(client.query_one(&named, &[&1]).await?.get::<_, &str>(0), "y");
        assert_eq!(state(client.query(&star, &[]).await), "0A000");
        client.batch_execute("ALTER TABLE rs_change DROP COLUMN a").await?;
        assert_eq!(state(client.query(&named, &[&1]).await), "42703");
        client.batch_execute("DROP TABLE rs_change").await?;
        assert_eq!(state(client.execute(&write, &[&1, &"z"]).await), "42P01");
        Ok(())
    });
}

#[test]
fn cancelling() {
    connected(|client, _| async move {
        let token = client.cancel_token();
        let cancel = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            token.cancel_query(NoTls).await
        };
        let (slept, cancelled) =
            future::join(client.query("SELECT pg_sleep(30)", &[]), cancel).await;
        cancelled?;
        assert_eq!(state(slept), "57014");
        assert_eq!(client.query_one("SELECT 1", &[]).await?.get::<_, i32>(0), 1);
        Ok(())
    });
}

#[test]
fn notices_errors_and_simple_queries() {
    connected(|client, url| async move {
        // Several statements of one text, each with its rows or its count.
        let messages = client
            .simple_query("CREATE TABLE IF NOT EXISTS rs_simple (id int PRIMARY KEY); SELECT 1 AS one, NULL AS nothing")
            .await?;
        let row = messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.expect("a row");
        assert_eq!((row.get("one"), row.get("nothing")), (Some("1"), None));
        let error = client.batch_execute("SELECT nothing").await.expect_err("no such column");
        let error = error.as_db_error().expect("the server's error");
        assert_eq!(error.code().code(), "42703");
        assert_eq!(error.severity(), "ERROR");
        let position = tokio_postgres::error::ErrorPosition::Original(8);
        assert_eq!(error.position(), Some(&position));
        // Notices come through the connection's own half.
        let (other, mut connection) = connect(&url).await;
        let (heard, mut notices) = futures::channel::mpsc::unbounded();
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    let _nobody_listens = heard.unbounded_send(notice.message().to_owned());
                }
            }
        });
        other.batch_execute("DROP TABLE IF EXISTS rs_nothing").await?;
        let notice = notices.next().await;
        let wanted = "table \"rs_nothing\" does not exist, skipping";
        assert_eq!(notice.as_deref(), Some(wanted));
        Ok(())
    });
}
