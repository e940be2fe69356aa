//! Where PhantomDB answers otherwise than a borrowed test file says, and why.
//!
//! Borrowed files come from databases with ways of their own; PhantomDB does what PostgreSQL 15
//! does, and where it takes more than PostgreSQL, no entry is needed.

/// What is answered instead.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// The statement fails with this SQLSTATE.
    Error(&'static str),
    /// The statement succeeds; a query gives these rows.
    Rows(&'static [&'static str]),
    /// The query gives so many rows, whichever.
    AnyRows(usize),
}

/// One statement that is answered otherwise.
#[derive(Debug)]
pub struct Difference {
    /// The file's name.
    pub file: &'static str,
    /// The statement, with single spaces.
    pub sql: &'static str,
    /// What is answered.
    pub answer: Answer,
    /// Why.
    pub reason: &'static str,
}

impl Difference {
    /// Whether it speaks of statement `sql` in `file`.
    pub fn is_about(&self, file: &str, sql: &str) -> bool {
        let words = sql.trim_end_matches([';', ' ', '\n']).split_whitespace();
        self.file == file && words.eq(self.sql.split_whitespace())
    }
}

const fn difference(
    file: &'static str,
    sql: &'static str,
    answer: Answer,
    reason: &'static str,
) -> Difference {
    Difference { file, sql, answer, reason }
}

/// RisingLight's files.
pub const RISINGLIGHT: &[Difference] = &[
    difference(
        "aggregation.slt",
        "SELECT first(x) FROM test",
        Answer::Error("42883"),
        "PostgreSQL has no such aggregate",
    ),
    difference(
        "aggregation.slt",
        "SELECT last(y) FROM test",
        Answer::Error("42883"),
        "PostgreSQL has no such aggregate",
    ),
    difference(
        "basic_test.slt",
        "select 100::INT/0::INT",
        Answer::Error("22012"),
        "division by zero is an error in PostgreSQL, not NULL",
    ),
    difference(
        "nullable_operator.slt",
        "select x / 0 from t",
        Answer::Error("22012"),
        "division by zero is an error in PostgreSQL, not NULL",
    ),
    difference(
        "cte.slt",
        "with cte as (select 42 as x), cte as (select * from cte) select * from cte",
        Answer::Error("42712"),
        "PostgreSQL's words",
    ),
    difference(
        "filter.slt",
        "insert into t values(-8, -8), (-7, -7), (-6, -6), (3, 3), (7, 7), (8, 8), (9, 9)",
        Answer::Error("23505"),
        "RisingLight does not enforce primary keys; 3 is there already",
    ),
    difference(
        "filter.slt",
        "select v1 from t where v1 > 2 and v1 < 4",
        Answer::Rows(&["3"]),
        "the INSERT before was refused: no second 3",
    ),
    difference(
        "filter.slt",
        "select v2 from t where (-7 < v1 or 9 <= v1) and (v1 = 3)",
        Answer::Rows(&["3"]),
        "the INSERT before was refused: no second 3",
    ),
    difference(
        "filter.slt",
        "select v2 from t where (-8 < v1 and v1 <= -7) or (v1 >= 1 and 2 > v1)",
        Answer::Rows(&["1"]),
        "the INSERT before was refused: no -7",
    ),
    difference(
        "filter.slt",
        "select v2 from t where ((v1 >= -8 and -4 >= v1) or (v1 >= 0 and 5 > v1)) and \
         ((v1 > 0 and v1 <= 1) or (v1 > -8 and v1 < -6))",
        Answer::Rows(&["1"]),
        "the INSERT before was refused: no -7",
    ),
    difference(
        "filter.slt",
        "select v2 from t where (-7 < v1 or 9 <= v1) and (v2 = 3)",
        Answer::Rows(&["3"]),
        "the INSERT before was refused: no second 3",
    ),
    difference(
        "filter.slt",
        "select v2 from t where (-8 < v1 and v2 <= -7) or (v1 >= 1 and 2 > v2)",
        Answer::Rows(&["1"]),
        "the INSERT before was refused: no -7",
    ),
    difference(
        "filter.slt",
        "select v2 from t where ((v2 >= -8 and -4 >= v1) or (v1 >= 0 and 5 > v2)) and \
         ((v2 > 0 and v1 <= 1) or (v1 > -8 and v2 < -6))",
        Answer::Rows(&["1"]),
        "the INSERT before was refused: no -7",
    ),
    difference(
        "having.slt",
        "select y as b, sum(x) as sum from test group by b having b = 2",
        Answer::Error("42703"),
        "HAVING does not see the names that SELECT gives, in PostgreSQL",
    ),
    difference(
        "having.slt",
        "select count(x) as a, y as b from test group by b having a > 1",
        Answer::Error("42703"),
        "HAVING does not see the names that SELECT gives, in PostgreSQL",
    ),
    difference(
        "having.slt",
        "select count(x) as a, y + 1 as b from test group by b having b + 1 = 24",
        Answer::Error("42703"),
        "HAVING does not see the names that SELECT gives, in PostgreSQL",
    ),
    difference(
        "limit.slt",
        "select v1 from t limit 3",
        Answer::AnyRows(3),
        "without ORDER BY it is open which rows these are",
    ),
    difference(
        "limit.slt",
        "select v1 from t offset 2",
        Answer::AnyRows(3),
        "without ORDER BY it is open which rows these are",
    ),
    difference(
        "limit.slt",
        "select v1 from t limit 2 offset 2",
        Answer::AnyRows(2),
        "without ORDER BY it is open which rows these are",
    ),
    difference(
        "order_by.slt",
        "select v1, v2 from t order by v1 asc, v2 asc",
        Answer::Rows(&["1 0", "2 2", "2 NULL", "NULL 5"]),
        "NULL comes last in PostgreSQL",
    ),
    difference(
        "order_by.slt",
        "select v1 as a from t order by -a limit 3",
        Answer::Error("42703"),
        "in PostgreSQL only a name by itself in ORDER BY is one that SELECT gives",
    ),
    difference(
        "subquery.slt",
        "select a, b from t, t",
        Answer::Error("42712"),
        "PostgreSQL's words",
    ),
    difference(
        "subquery.slt",
        "select a, b from t, t as t1",
        Answer::Error("42702"),
        "PostgreSQL's words",
    ),
    difference(
        "substring.slt",
        "SELECT substring(s from -2 for 2) FROM strings",
        Answer::Rows(&["NULL", "(empty)", "(empty)", "(empty)"]),
        "a position below 1 counts from before the text in PostgreSQL, not from its end",
    ),
    difference(
        "substring.slt",
        "SELECT substring(s, -2147483647, 2147483647) FROM strings",
        Answer::Rows(&["NULL", "(empty)", "(empty)", "(empty)"]),
        "a position below 1 counts from before the text in PostgreSQL, not from its end",
    ),
    difference(
        "substring.slt",
        "SELECT substring('abcd', -1)",
        Answer::Rows(&["abcd"]),
        "a position below 1 counts from before the text in PostgreSQL, not from its end",
    ),
    difference(
        "substring.slt",
        "SELECT substring(s, 2, -2) FROM strings",
        Answer::Error("22011"),
        "a negative length is an error in PostgreSQL",
    ),
    difference(
        "substring.slt",
        "SELECT substring(s, -2, -2) FROM strings",
        Answer::Error("22011"),
        "a negative length is an error in PostgreSQL",
    ),
    difference(
        "window_function.slt",
        "SELECT a - row_number() OVER () FROM t",
        Answer::AnyRows(3),
        "without ORDER BY it is open which row is numbered first",
    ),
    difference(
        "window_function.slt",
        "SELECT sum(a) OVER () FROM t",
        Answer::Rows(&["6", "6", "6"]),
        "without ORDER BY the frame is the whole partition",
    ),
    difference(
        "window_function.slt",
        "SELECT a FROM t WHERE sum(a) OVER () > 0",
        Answer::Error("42P20"),
        "PostgreSQL's words",
    ),
    difference(
        "window_function.slt",
        "SELECT a FROM t HAVING sum(a) OVER () > 0",
        Answer::Error("42P20"),
        "PostgreSQL's words",
    ),
    difference(
        "window_function.slt",
        "SELECT sum(sum(a) over ()) over () FROM t",
        Answer::Error("42P20"),
        "PostgreSQL's words",
    ),
];
