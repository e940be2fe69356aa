\d
\dt
\d t
\d parent
\d v
\d t_b
\di
\dv
\ds
\dn
\du
\l
\df
\d+ t
\d+ parent
\d+ v
\dT
\dx
\d counted
\d+ counted
\d plain
\d counted_id_seq
\d counted_number_seq
\d takes
\d+ plain
