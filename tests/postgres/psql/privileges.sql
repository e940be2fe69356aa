CREATE ROLE lord;
CREATE ROLE page;
CREATE ROLE "the Squire" IN ROLE page;
CREATE SCHEMA keep AUTHORIZATION lord;
CREATE SCHEMA bare;
GRANT USAGE ON SCHEMA keep TO page;
GRANT ALL ON SCHEMA keep TO "the Squire" WITH GRANT OPTION;
SET ROLE lord;
CREATE TABLE keep.hall (id serial PRIMARY KEY, name text);
CREATE TABLE keep.plain (id int);
CREATE VIEW keep.seats AS SELECT name FROM keep.hall;
GRANT SELECT, UPDATE ON keep.hall TO page WITH GRANT OPTION;
GRANT INSERT ON keep.hall TO PUBLIC;
GRANT SELECT ON keep.seats TO "the Squire";
GRANT USAGE ON SEQUENCE keep.hall_id_seq TO page;
RESET ROLE;
CREATE DATABASE castle OWNER lord;
CREATE DATABASE ruin;
GRANT CREATE ON DATABASE castle TO page;
REVOKE ALL ON DATABASE ruin FROM PUBLIC;
\dp keep.*
\z keep.hall
\dn+ (keep|bare)
\dv keep.*
\ds keep.*
\x
\l castle
\l ruin
\x
SET ROLE page;
SELECT * FROM keep.seats;
SELECT * FROM keep.plain;
INSERT INTO keep.hall VALUES (1, 'great');
SELECT * FROM keep.hall;
DELETE FROM keep.hall;
GRANT SELECT ON keep.seats TO page;
GRANT ALL ON keep.hall TO PUBLIC;
DROP TABLE keep.plain;
ALTER TABLE keep.hall OWNER TO page;
CREATE SCHEMA attic;
CREATE DATABASE annex;
DROP DATABASE ruin;
SET ROLE lord;
SELECT nextval('keep.hall_id_seq');
SET ROLE "the Squire";
SELECT nextval('keep.hall_id_seq');
SELECT setval('keep.hall_id_seq', 9);
RESET ROLE;
CREATE ROLE clerk;
GRANT SELECT ON keep.seats TO clerk;
DROP ROLE clerk;
REVOKE SELECT ON keep.hall FROM page;
SET SESSION AUTHORIZATION page;
SET ROLE lord;
SET SESSION AUTHORIZATION lord;
SHOW role;
SHOW session_authorization;
SHOW is_superuser;
