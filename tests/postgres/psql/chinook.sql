-- Tables, and rows in all of them.
SELECT string_agg(format('SELECT count(*) AS n FROM %I', table_name), ' UNION ALL ') AS counts
  FROM information_schema.tables WHERE table_schema = 'public' \gset
SELECT count(*), sum(n) FROM (:counts) AS each;
