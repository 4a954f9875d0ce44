-- What happens before it is known which organisation a visitor belongs to, in two functions and nothing else: a role of its own
-- may call them, and read or write no table.
CREATE ROLE saas_signin LOGIN PASSWORD 'change-me';
SET ROLE saas_owner;

CREATE FUNCTION orgs_of(mail text) RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ SELECT o.slug FROM orgs o JOIN users u ON u.org_id = o.id WHERE u.email = mail $$;

CREATE FUNCTION sign_up(new_slug text, org_name text, mail text) RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
    $$ WITH org AS (INSERT INTO orgs (slug, name) VALUES (new_slug, org_name) RETURNING id, slug),
            owner AS (INSERT INTO users (org_id, email, name) SELECT id, mail, split_part(mail, '@', 1) FROM org)
       SELECT slug FROM org $$;

REVOKE ALL ON FUNCTION orgs_of, sign_up FROM PUBLIC;
GRANT EXECUTE ON FUNCTION orgs_of, sign_up TO saas_signin;

-- pgwarden hears of a new organisation at once: [tenants_from] channel = "orgs".
CREATE FUNCTION tell_orgs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY orgs; RETURN NULL; END $$;
CREATE TRIGGER tell_orgs AFTER INSERT OR DELETE OR UPDATE OF id, slug ON orgs FOR EACH STATEMENT EXECUTE FUNCTION tell_orgs();
