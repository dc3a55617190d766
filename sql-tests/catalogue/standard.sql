-- schemas
SELECT catalog_name, schema_name FROM information_schema.schemata ORDER BY 2
--> dev | public

-- keys
SELECT constraint_name, table_name, column_name, ordinal_position FROM information_schema.key_column_usage ORDER BY 1, 4
--> item_pkey | item | shop | 1

-- who is constrained
SELECT table_name, column_name, constraint_name FROM information_schema.constraint_column_usage
--> item | shop | item_pkey

-- foreign keys, of which there are none
SELECT tc.table_name, kcu.column_name, ccu.table_name AS foreign_table FROM information_schema.table_constraints AS tc JOIN information_schema.key_column_usage AS kcu ON tc.constraint_name = kcu.constraint_name JOIN information_schema.referential_constraints rc ON rc.constraint_name = tc.constraint_name JOIN information_schema.constraint_column_usage AS ccu ON ccu.constraint_name = rc.unique_constraint_name WHERE tc.constraint_type = 'FOREIGN KEY'

-- functions
SELECT routine_schema, routine_name, routine_type, data_type, external_language FROM information_schema.routines WHERE routine_schema = 'public' AND routine_name = 'twice'
--> public | twice | FUNCTION | integer | SQL

-- parameters of functions
SELECT p.parameter_name, p.data_type, p.ordinal_position FROM information_schema.parameters p WHERE p.specific_schema = 'public' AND p.specific_name LIKE 'twice%'
--> a | integer | 1

-- grants
SELECT grantor, grantee, table_name, privilege_type, is_grantable FROM information_schema.role_table_grants WHERE table_name = 'item'
--> root | reader | item | SELECT | NO

-- what a view reads
SELECT view_name, table_name FROM information_schema.view_table_usage ORDER BY 1
--> cheap | item
--> per_shop | item

-- roles
SELECT role_name FROM information_schema.enabled_roles
--> root

-- the database
SELECT catalog_name FROM information_schema.information_schema_catalog_name
--> dev

-- sequences, triggers, domains, check constraints: none
SELECT count(*) FROM information_schema.sequences, information_schema.triggers, information_schema.domains, information_schema.check_constraints
--> 0

-- comments
SELECT obj_description({item}), obj_description({item}, 'pg_class'), col_description({item}, 3)
--> what is sold | what is sold | its name

-- dependencies
SELECT c.relname, r.relname, d.deptype FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid JOIN pg_class c ON c.oid = w.ev_class JOIN pg_class r ON r.oid = d.refobjid WHERE d.classid = 'pg_rewrite'::regclass ORDER BY 1
--> cheap | item | n
