create table parent(id bigint primary key, code text not null unique, note varchar(20) default 'x', amount numeric(10,2) check (amount > 0), made timestamptz default now());
create table t(a int not null, b int, c text default 'hi', d boolean, p bigint references parent(id) on delete cascade, primary key(a,b), constraint pos check (a > 0), constraint uq unique (c, d));
create index t_b on t(b desc, c);
create view v as select a, c from t where b > 1;
