\echo functions
\df
\df btrim text
\df+ lpad
\df initcap text
\df jsonb_set
\df jsonb_array_elements
\df concat*
\df array_append
\df generate_series
\df+ has_table_privilege
\df int4 bigint
\df to_reg*
\df make_interval
\df pg_get_function_arguments
\dfn jsonb_object_keys
\da
\da bool_or
\da stddev*
\da+ count
\dfa every
\dfw
\dfw row_number
\dfw+ row_number
\dfp
\dft
\sf reverse
\sf lpad(text,int)
\sf+ make_date
\echo operators
\do
\do << integer
\do+ ->>
\do + integer integer
\do - "" integer
\do ~~ text
\do <@ jsonb
\echo casts
\dC interval
\dC+ jsonb
\dC date
\dC timestamp
\echo operator classes
\dAc btree int8
\dAc+ btree name
\dAc btree uuid
\dAf btree bigint
\dAf+ btree bigint
\dAo btree integer_ops
\dAo+ btree text_ops
select amproclefttype::regtype, amprocrighttype::regtype, amproc from pg_amproc where amprocfamily = 434 and amprocnum = 1 order by 1, 2;
\echo languages and the rest
\dL internal
\dc
\dF nothing
\dFd nothing
\dFp nothing
\dFt nothing
\dT
\dT int8
\dT anyelement
\dT+ int?
\dO
\dx nothing
\dy
\des
\des+
\dew+
\deu+
\det+
\dRp
\dRs+
\dX
\dD+
\dO+
\dy+
\dP+
\dT+ void
\dconfig nothing
\dd
\dl
\echo names
select 'reverse'::regproc, 'reverse(text)'::regprocedure, 'substring(text, int, int4)'::regprocedure;
select 870::regprocedure, 177::regproc, 0::regproc, 4711::regprocedure;
select 'pg_catalog.reverse'::regproc::oid, 'left(text,int)'::regprocedure, 'concat("any")'::regprocedure;
-- Where the name is not written out an error has no place.
select name::regproc from (values ('abs')) given(name);
select name::regproc from (values ('nothing')) given(name);
select name::regprocedure from (values ('nothing(text)')) given(name);
select name::regprocedure from (values ('reverse(nothing)')) given(name);
select name::regprocedure from (values ('reverse')) given(name);
select to_regproc('reverse'), to_regproc('abs'), to_regproc('nothing'), to_regprocedure('abs(int)');
select name::regoper from (values ('->>')) given(name);
select '||/'::regoper, '+(int,int)'::regoperator, '-(none,bigint)'::regoperator, 551::regoperator, 551::regoper;
select name::regoperator from (values ('+(int,nothing)')) given(name);
select to_regoper('||/'), to_regoper('+'), to_regoperator('+(int4,int4)'), to_regoperator('+(text,int4)');
select has_function_privilege('reverse(text)', 'execute'), has_function_privilege('phantom', 'abs(int)', 'execute');
select proname, pronargs, prorettype::regtype, proargtypes, proargmodes, proargnames, provariadic::regtype, proargdefaults is not null from pg_proc where oid in (870, 3058, 3219, 3305) order by oid;
select aggfnoid::regprocedure, aggkind, aggsortop::regoperator from pg_aggregate where aggfnoid::oid in (2116, 2131, 2147, 2517) order by 1;
select castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod from pg_cast where castsource = 'integer'::regtype and casttarget in ('oid'::regtype, 'smallint'::regtype, 'numeric'::regtype) order by 2;
select oprname, oprleft::regtype, oprcode, oprcom::regoperator, oprnegate::regoperator from pg_operator where oid in (96, 551, 558, 1254) order by oid;
select * from pg_range where rngtypid = 0;
select description from pg_description where classoid = 'pg_proc'::regclass and objoid = 'reverse'::regproc;
select tableoid::regclass from pg_am where amname = 'btree';
