-- Takes the lists beside this file from a PostgreSQL 15:
--
--   psql -X -q -At -f facts.sql
--
-- writes them into the current folder. An operator that does not work here is taken out by hand,
-- with the members of families that name it: the tests beside `pg_proc` name it.

\set ON_ERROR_STOP on
-- The types that there are here, and the pseudo-types that functions are declared with.
create temp table known as select oid from pg_type where typname in (
    'bool', 'bytea', 'char', 'name', 'int8', 'int2', 'int2vector', 'int4', 'regproc', 'text', 'oid',
    'oidvector', 'json', 'float4', 'float8', 'bpchar', 'varchar', 'date', 'time', 'timetz',
    'timestamp', 'timestamptz', 'interval', 'numeric', 'regprocedure', 'regoper', 'regoperator',
    'regclass', 'regtype', 'uuid', 'jsonb', 'regnamespace', 'regrole', 'regcollation', 'void', 'any',
    'anyelement', 'anyarray', 'anynonarray', 'anycompatible', 'anycompatiblearray',
    'anycompatiblenonarray', 'record');
insert into known select typarray from pg_type join known using (oid) where typarray <> 0;

create temp table taken as
    select * from pg_proc
    where pronamespace = 'pg_catalog'::regnamespace
        and not exists (select from unnest(proargtypes) a where a not in (table known))
        and prorettype not in (select oid from pg_type where typname in (
            'internal', 'cstring', 'trigger', 'event_trigger', 'language_handler', 'fdw_handler',
            'index_am_handler', 'tsm_handler', 'table_am_handler'));
-- What belongs to things that are not here.
delete from taken
    where proname ~ '^(binary_upgrade|pg_stat_get|pg_stat_reset|pg_replication|pg_logical|pg_ls_|pg_control_|lo_|pg_event_trigger|pg_copy_|pg_create_|hash|RI_)'
        or proname ~ '(send|_xml|_xmlschema|xml|multirange|range_subdiff|regr_.*|_validator|sortsupport|_accum|_accum_inv|_combine|_hash|_hash_extended|_replication_slot)$'
        or proname ~ '(xml|to_tsv|to_tsq|tsrange|tstz|ts_debug|ts_parse|ts_stat|ts_token)'
        or prorettype = 'record'::regtype and proretset and proname like 'pg\_%'
            and proname not in ('pg_options_to_table', 'pg_partition_tree')
        or proname in ('loread', 'lowrite', 'amvalidate', 'pg_stat_file',
            'pg_backup_stop', 'pg_sequence_parameters', 'pg_prepared_xact', 'pg_nextoid',
            'pg_stop_making_pinned_objects', 'pg_import_system_collations',
            'pg_extension_config_dump', 'satisfies_hash_partition');

create function pg_temp.type(oid) returns name language sql as
    'select typname from pg_type where oid = $1';
create function pg_temp.argument(function oid, at int) returns text language sql as $$
    select concat(
        case proargmodes[at] when 'o' then 'OUT ' when 'v' then 'VARIADIC ' else '' end,
        nullif(proargnames[at], '') || ' ',
        pg_temp.type(coalesce(proallargtypes[at], proargtypes[at - 1])),
        '=' || pg_get_function_arg_default(oid, at))
    from pg_proc where oid = function
$$;

\pset fieldsep '\t'
\o functions.tsv
\qecho '# PostgreSQL 15''s functions, as facts.sql takes them from its catalog; columns between tabs:'
\qecho '# oid, name, [kind, volatility, strict, set, parallel, leakproof], cost/rows, language, arguments, result, source, description'
select f.oid, proname,
    prokind::text || provolatile::text || case when proisstrict then 's' else '-' end
        || case when proretset then 'r' else '-' end || proparallel::text
        || case when proleakproof then 'l' else '-' end,
    procost::text || '/' || prorows::text, lanname,
    coalesce((select string_agg(pg_temp.argument(f.oid, at), ';' order by at)
        from generate_series(1, coalesce(array_length(proallargtypes, 1), pronargs)) at), ''),
    pg_temp.type(prorettype),
    replace(coalesce(pg_get_function_sqlbody(f.oid), prosrc), E'\n', '\n'),
    coalesce(obj_description(f.oid, 'pg_proc'), '')
from taken f join pg_language l on l.oid = prolang order by proname, f.oid;

-- The rest is without `record`.
delete from known where oid in ('record'::regtype, 'record[]'::regtype);
create temp table operators as
    select * from pg_operator
    where (oprleft = 0 or oprleft in (table known)) and oprright in (table known)
        and oprresult in (table known);
create function pg_temp.operator(oid) returns oid language sql as
    'select coalesce((select oid from operators where oid = $1), 0)';

\pset fieldsep ' '
\o operators.txt
\qecho '# PostgreSQL 15''s operators that are here, too (facts.sql):'
\qecho '# oid, symbol, left, right, result, function, commutator, negator, [merge, hash], description'
select oid, oprname, coalesce(pg_temp.type(oprleft), '-'), pg_temp.type(oprright),
    pg_temp.type(oprresult), oprcode::oid, pg_temp.operator(oprcom), pg_temp.operator(oprnegate),
    case when oprcanmerge then 'm' else '-' end || case when oprcanhash then 'h' else '-' end,
    coalesce(obj_description(oid, 'pg_operator'), '')
from operators order by oprname, oid;

\o casts.txt
\qecho '# PostgreSQL 15''s casts between types that are here, too (facts.sql):'
\qecho '# oid, source, target, function, context, method'
select oid, pg_temp.type(castsource), pg_temp.type(casttarget), castfunc, castcontext, castmethod
from pg_cast where castsource in (table known) and casttarget in (table known) order by 2, 3;

create temp table families as
    select * from pg_opfamily
    where opfmethod = (select oid from pg_am where amname = 'btree')
        and opfname not like '%pattern_ops' and opfname not like 'record%'
        and oid in (select opcfamily from pg_opclass where opcintype in (table known));
\o operator_classes.txt
\qecho '# PostgreSQL 15''s B-tree operator classes over types that are here, too (facts.sql), one kind of line after another:'
\qecho '# class oid name family type default stored; family oid name; operator oid family left right strategy operator;'
\qecho '# procedure oid family left right function'
select 'class', c.oid, opcname, opcfamily, pg_temp.type(opcintype), opcdefault,
    coalesce(pg_temp.type(opckeytype), '-')
from pg_opclass c join families f on f.oid = opcfamily
where opcintype in (table known) order by opcname, c.oid;
select 'family', oid, opfname from families order by opfname;
select 'operator', a.oid, amopfamily, pg_temp.type(amoplefttype), pg_temp.type(amoprighttype),
    amopstrategy, amopopr
from pg_amop a join families f on f.oid = amopfamily
where amoplefttype in (table known) and amoprighttype in (table known)
order by opfname, 4, 5, amopstrategy;
select 'procedure', a.oid, amprocfamily, pg_temp.type(amproclefttype),
    pg_temp.type(amprocrighttype), amproc::oid
from pg_amproc a join families f on f.oid = amprocfamily
where amprocnum = 1 and amproclefttype in (table known) and amprocrighttype in (table known)
order by opfname, 4, 5;

\o descriptions.txt
\qecho '# What PostgreSQL 15 says of its types, schemas and the like (facts.sql): catalog, oid, words.'
select relname, objoid, description
from pg_description d join pg_class c on c.oid = classoid
where objsubid = 0 and (
    relname = 'pg_type' and (objoid in (table known) or objoid in ('record'::regtype,
        'cstring'::regtype, 'trigger'::regtype, 'event_trigger'::regtype, 'internal'::regtype,
        'unknown'::regtype))
    or relname = 'pg_am' and objoid in (select oid from pg_am where amname in ('heap', 'btree'))
    or relname = 'pg_collation' and objoid in (100, 950, 951)
    or relname = 'pg_namespace' and objoid in ('pg_catalog'::regnamespace, 'public'::regnamespace)
    or relname = 'pg_language' and objoid in (12, 14))
order by relname, objoid;
\o
