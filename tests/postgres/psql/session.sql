\cd :folder
CREATE TABLE pets (id int PRIMARY KEY, name text NOT NULL, born date, weight numeric(6,2));
INSERT INTO pets VALUES (1, 'Ada', '2019-02-03', 4.25), (2, 'Bo', NULL, 31), (3, E'tab\there', '2021-12-31', NULL);
\x on
SELECT * FROM pets ORDER BY id;
\x off
\pset null '~'
SELECT * FROM pets ORDER BY id;
\pset null ''
\copy pets TO 'pets.csv' WITH (FORMAT csv, HEADER)
\copy (SELECT name FROM pets ORDER BY id) TO STDOUT
CREATE TABLE others (id int PRIMARY KEY, name text NOT NULL, born date, weight numeric(6,2));
\copy others FROM 'pets.csv' WITH (FORMAT csv, HEADER)
SELECT count(*) FROM others JOIN pets USING (id, name);
COPY others (id, name) FROM STDIN;
7	seven
8	eight
\.
SELECT id, name FROM others WHERE id > 3 ORDER BY 1;
SELECT id, nam FROM pets;
SELECT 1 +
  FROM pets;
INSERT INTO pets VALUES (1, 'again');
INSERT INTO pets (id) VALUES (9);
BEGIN;
INSERT INTO pets VALUES (4, 'Cy');
SELECT nothing;
SELECT 1;
COMMIT;
SELECT count(*) FROM pets;
\set who Bo
SELECT id FROM pets WHERE name = :'who';
SELECT id, name FROM pets WHERE id = 1 \gset
\echo :id :name
SELECT format('SELECT %s AS n', g) FROM generate_series(1, 2) AS g \gexec
SELECT 1 AS a \; SELECT 2 AS b;
SELECT id, name, born, weight FROM pets \gdesc
SELECT id, name, weight FROM pets ORDER BY id \crosstabview
\set FETCH_COUNT 2
SELECT id, name FROM pets ORDER BY id;
BEGIN;
SELECT count(*) FROM generate_series(1, 5);
COMMIT;
\unset FETCH_COUNT
\set AUTOCOMMIT off
UPDATE pets SET weight = 0;
ROLLBACK;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT nothing;
SELECT count(*) FROM pets WHERE weight = 0;
COMMIT;
\set ON_ERROR_ROLLBACK off
SELECT count(*) > 1 AS several FROM pets \gset
\if :several
\echo several
\endif
\pset format csv
SELECT id, name FROM pets WHERE id = 1;
\pset format aligned
\dt pet*
\d nothere
\encoding
\timing on
SELECT 1;
\timing off
\df
\sf nothing
\dp pets
\sv nothing
\do
\ddp
\drds
