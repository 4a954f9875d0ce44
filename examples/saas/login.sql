-- What happens before it is known which organisation a visitor belongs to: two functions, and nothing else.
SET ROLE saas_owner;

-- Whose a log-in is. The app's own login calls it, while it acts for no organisation: [tenancy] without_tenant.
CREATE FUNCTION find_login(mail text) RETURNS TABLE (org text, user_id bigint, password_digest text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ SELECT o.slug, u.id, u.password_digest FROM public.orgs o JOIN public.users u ON u.org_id = o.id WHERE u.email = mail $$;
REVOKE ALL ON FUNCTION find_login FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_login TO pgwarden_saas_tenants;

-- A new organisation, with its first user. A role of its own may call it, and touch no table.
CREATE FUNCTION sign_up(new_slug text, org_name text, mail text) RETURNS text
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
    $$ WITH org AS (INSERT INTO public.orgs (slug, name) VALUES (new_slug, org_name) RETURNING id, slug),
            first AS (INSERT INTO public.users (org_id, email, name) SELECT id, mail, split_part(mail, '@', 1) FROM org)
       SELECT slug FROM org $$;
REVOKE ALL ON FUNCTION sign_up FROM PUBLIC;
RESET ROLE;
CREATE ROLE saas_signup LOGIN PASSWORD 'change-me';
GRANT EXECUTE ON FUNCTION sign_up TO saas_signup;
SET ROLE saas_owner;

-- pgwarden hears of a new organisation at once: [tenants_from] channel = "orgs".
CREATE FUNCTION tell_orgs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NOTIFY orgs; RETURN NULL; END $$;
CREATE TRIGGER tell_orgs AFTER INSERT OR DELETE OR UPDATE OF id, slug ON orgs FOR EACH STATEMENT EXECUTE FUNCTION tell_orgs();
