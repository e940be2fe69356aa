//! The demo's database: a small shop, the same every time.

use phantomdb_client::blocking::Client;
use phantomdb_client::{Error, Value};

const CUSTOMERS: i64 = 500;
const PRODUCTS: i64 = 60;
const ORDERS: i64 = 3_000;
/// Rows a statement inserts.
const ROWS_PER_STATEMENT: usize = 100;
/// 2024-01-01, in days since 2000-01-01; orders are spread over the year after it.
const FIRST_DAY: i64 = 8_766;
const DAYS: i64 = 365;

const COUNTRIES: [&str; 8] =
    ["Brazil", "Canada", "France", "Germany", "India", "Japan", "Kenya", "Norway"];
const THINGS: [&str; 12] = [
    "Lamp",
    "Chair",
    "Kettle",
    "Rucksack",
    "Bicycle",
    "Notebook",
    "Telescope",
    "Umbrella",
    "Guitar",
    "Camera",
    "Teapot",
    "Compass",
];
const KINDS: [&str; 5] = ["Plain", "Blue", "Folding", "Silent", "Grand"];

/// The statements that make the tables.
pub(super) const TABLES: [&str; 4] = [
    "CREATE TABLE customer (
  id BIGINT PRIMARY KEY,
  name TEXT NOT NULL,
  country TEXT NOT NULL
)",
    "CREATE TABLE product (
  id BIGINT PRIMARY KEY,
  name TEXT NOT NULL,
  price NUMERIC(10, 2) NOT NULL CHECK (price > 0)
)",
    "CREATE TABLE purchase (
  customer_id BIGINT NOT NULL,
  id BIGINT NOT NULL,
  day DATE NOT NULL,
  PRIMARY KEY (customer_id, id)
) PARTITION BY HASH (customer_id)",
    "CREATE TABLE purchase_line (
  customer_id BIGINT NOT NULL,
  purchase_id BIGINT NOT NULL,
  product_id BIGINT NOT NULL,
  quantity INT NOT NULL CHECK (quantity > 0),
  PRIMARY KEY (customer_id, purchase_id, product_id)
) PARTITION BY HASH (customer_id)",
];

/// The queries the demo shows, each with a word about it.
pub(super) const QUERIES: [(&str, &str); 3] = [
    (
        "What sells best",
        "SELECT p.name, sum(l.quantity) AS sold, sum(l.quantity * p.price) AS revenue
FROM purchase_line l JOIN product p ON p.id = l.product_id
GROUP BY p.name ORDER BY revenue DESC, p.name LIMIT 5",
    ),
    (
        "Where the money comes from",
        "SELECT c.country, count(DISTINCT c.id) AS customers, sum(l.quantity * p.price) AS revenue
FROM customer c
JOIN purchase_line l ON l.customer_id = c.id
JOIN product p ON p.id = l.product_id
GROUP BY c.country ORDER BY revenue DESC",
    ),
    (
        "The plan of one of them: what runs in the partitions, and what the router adds",
        "EXPLAIN SELECT p.name, sum(l.quantity) AS sold
FROM purchase_line l JOIN product p ON p.id = l.product_id
GROUP BY p.name ORDER BY sold DESC LIMIT 5",
    ),
];

/// Fills the tables; gives the number of rows.
///
/// # Errors
/// The server refuses, or is gone.
pub(super) fn fill(client: &mut Client) -> Result<u64, Error> {
    let mut random = Sequence(42);
    let mut count = 0;
    let customers = (1..=CUSTOMERS).map(|id| {
        vec![
            Value::Int(id),
            Value::text(format!("Customer {id}")),
            Value::text(random.pick(&COUNTRIES)),
        ]
    });
    count += insert(
        client,
        "INSERT INTO customer (id, name, country) VALUES ",
        3,
        &customers.collect::<Vec<_>>(),
    )?;
    let products = (0..PRODUCTS).map(|id| {
        let kind = KINDS[(id as usize / THINGS.len()) % KINDS.len()];
        let name = format!("{kind} {}", THINGS[id as usize % THINGS.len()]);
        // Prices travel as text and are cast: 3.00 to 199.99.
        let cents = 300 + random.below(19_700);
        vec![
            Value::Int(id + 1),
            Value::text(name),
            Value::text(format!("{}.{:02}", cents / 100, cents % 100)),
        ]
    });
    let products: Vec<Vec<Value>> = products.collect();
    for product in &products {
        let statement =
            "INSERT INTO product (id, name, price) VALUES ($1, $2, CAST($3 AS NUMERIC))";
        let types = [
            phantomdb_client::DataType::Int8,
            phantomdb_client::DataType::Text,
            phantomdb_client::DataType::Text,
        ];
        let statement = client.prepare_typed(statement, &types)?;
        count += client.execute(&statement, product)?;
    }
    let mut purchases = Vec::new();
    let mut lines = Vec::new();
    for id in 1..=ORDERS {
        let customer = 1 + random.below(CUSTOMERS);
        let day = FIRST_DAY + random.below(DAYS);
        purchases.push(vec![
            Value::Int(customer),
            Value::Int(id),
            Value::Date(i32::try_from(day).unwrap_or(0)),
        ]);
        let first = random.below(PRODUCTS);
        for line in 0..1 + random.below(4) {
            let product = 1 + (first + line * 7) % PRODUCTS;
            lines.push(vec![
                Value::Int(customer),
                Value::Int(id),
                Value::Int(product),
                Value::Int(1 + random.below(3)),
            ]);
        }
    }
    count += insert(client, "INSERT INTO purchase (customer_id, id, day) VALUES ", 3, &purchases)?;
    count += insert(
        client,
        "INSERT INTO purchase_line (customer_id, purchase_id, product_id, quantity) VALUES ",
        4,
        &lines,
    )?;
    Ok(count)
}

/// Inserts rows of `width` values, many a statement.
fn insert(
    client: &mut Client,
    head: &str,
    width: usize,
    rows: &[Vec<Value>],
) -> Result<u64, Error> {
    let mut count = 0;
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let places: Vec<String> = (0..chunk.len())
            .map(|row| {
                let numbers: Vec<String> =
                    (1..=width).map(|column| format!("${}", row * width + column)).collect();
                format!("({})", numbers.join(", "))
            })
            .collect();
        let text = format!("{head}{}", places.join(", "));
        count += client.execute(&text, &chunk.concat())?;
    }
    Ok(count)
}

/// A small fixed sequence of numbers (Lehmer, MINSTD): the shop is the same on every machine.
struct Sequence(u64);

impl Sequence {
    /// A number from 0 to just below `bound`.
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        (self.0 as i64) % bound
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len() as i64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_fixed() {
        let mut sequence = Sequence(42);
        assert_eq!(
            [sequence.below(1_000), sequence.below(1_000), sequence.below(10)],
            [382, 407, 7]
        );
    }
}
