-- As Rails and acts_as_tenant make it: bigint keys, plural names, tenants by subdomain.
CREATE TABLE schema_migrations (version varchar PRIMARY KEY);
CREATE TABLE ar_internal_metadata (key varchar PRIMARY KEY, value varchar, created_at timestamp NOT NULL, updated_at timestamp NOT NULL);
CREATE TABLE plans (id bigserial PRIMARY KEY, name varchar NOT NULL, price_cents int NOT NULL);
CREATE TABLE countries (code char(2) PRIMARY KEY, name varchar NOT NULL);
CREATE TABLE accounts (id bigserial PRIMARY KEY, name varchar NOT NULL, subdomain varchar NOT NULL, plan_id bigint REFERENCES plans,
    suspended_at timestamp, created_at timestamp NOT NULL DEFAULT now());
CREATE UNIQUE INDEX index_accounts_on_subdomain ON accounts (subdomain);
CREATE TABLE users (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts, email varchar NOT NULL,
    encrypted_password varchar NOT NULL DEFAULT '');
CREATE UNIQUE INDEX index_users_on_account_id_and_email ON users (account_id, email);
CREATE TABLE projects (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts, owner_id bigint REFERENCES users,
    name varchar NOT NULL, slug varchar NOT NULL, country_code char(2) REFERENCES countries);
CREATE TABLE tasks (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts, project_id bigint NOT NULL REFERENCES projects,
    title varchar NOT NULL, done boolean NOT NULL DEFAULT false);
CREATE TABLE comments (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, task_id bigint NOT NULL REFERENCES tasks, body text);
CREATE TABLE reactions (id bigserial PRIMARY KEY, comment_id bigint NOT NULL REFERENCES comments ON DELETE CASCADE, emoji varchar NOT NULL);
CREATE TABLE tags (id bigserial PRIMARY KEY, account_id bigint NOT NULL REFERENCES accounts, name varchar NOT NULL);
CREATE TABLE projects_tags (project_id bigint NOT NULL REFERENCES projects, tag_id bigint NOT NULL REFERENCES tags, PRIMARY KEY (project_id, tag_id));
CREATE TABLE versions (id bigserial PRIMARY KEY, item_type varchar NOT NULL, item_id bigint NOT NULL, event varchar NOT NULL, object text);
CREATE TABLE active_storage_blobs (id bigserial PRIMARY KEY, key varchar NOT NULL UNIQUE, filename varchar NOT NULL);
CREATE TABLE active_storage_attachments (id bigserial PRIMARY KEY, name varchar NOT NULL, record_type varchar NOT NULL, record_id bigint NOT NULL,
    blob_id bigint NOT NULL REFERENCES active_storage_blobs);
CREATE TABLE solid_queue_jobs (id bigserial PRIMARY KEY, class_name varchar NOT NULL, arguments text);
CREATE TABLE announcements (id bigserial PRIMARY KEY, title varchar NOT NULL);
CREATE VIEW open_tasks AS SELECT id, account_id, title FROM tasks WHERE NOT done;
CREATE VIEW task_counts AS SELECT p.account_id, p.name, (SELECT count(*) FROM tasks) AS all_tasks FROM projects p;
CREATE VIEW price_list AS SELECT name, price_cents FROM plans;
CREATE FUNCTION slugify(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN RETURN trim(BOTH '-' FROM regexp_replace(lower(value), '[^a-z0-9]+', '-', 'g')); END $$;
CREATE FUNCTION initials(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN upper(left(value, 2)); END $$;
CREATE FUNCTION count_tasks() RETURNS bigint LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN (SELECT count(*) FROM tasks); END $$;
CREATE FUNCTION record_version() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO versions (item_type, item_id, event) VALUES (TG_TABLE_NAME, NEW.id, TG_OP); RETURN NEW; END $$;
CREATE TRIGGER record_version AFTER INSERT OR UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION record_version();
INSERT INTO schema_migrations VALUES ('20240101000000');
INSERT INTO plans (name, price_cents) VALUES ('free', 0), ('pro', 900);
INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France');
INSERT INTO accounts (name, subdomain, plan_id) VALUES ('Acme Inc.', 'acme', 2), ('Globex', 'globex', 1);
INSERT INTO users (account_id, email) VALUES (1, 'ann@acme.test'), (2, 'gil@globex.test');
INSERT INTO projects (account_id, owner_id, name, slug, country_code) VALUES (1, 1, 'Anvils', 'anvils', 'DE'), (2, 2, 'Gadgets', 'gadgets', 'FR');
INSERT INTO tasks (account_id, project_id, title) VALUES (1, 1, 'forge'), (2, 2, 'ship'), (2, 2, 'bill');
INSERT INTO comments (user_id, task_id, body) VALUES (1, 1, 'hot'), (2, 2, 'as soon as it is dry');
INSERT INTO reactions (comment_id, emoji) VALUES (1, 'fire'), (2, 'clock');
INSERT INTO tags (account_id, name) VALUES (1, 'iron'), (2, 'tinplate and pewter');
INSERT INTO projects_tags VALUES (1, 1), (2, 2);
INSERT INTO announcements (title) VALUES ('hello');
