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
