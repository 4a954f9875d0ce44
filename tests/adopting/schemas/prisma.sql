-- As Prisma makes it: names as in its schema, text keys (cuid), people who belong to several tenants.
CREATE TABLE "_prisma_migrations" (id varchar(36) PRIMARY KEY, checksum varchar(64) NOT NULL, migration_name varchar(255) NOT NULL, logs text);
CREATE TYPE "Role" AS ENUM ('OWNER', 'MEMBER');
CREATE TABLE "Organization" (id text NOT NULL, name text NOT NULL, slug text NOT NULL, "createdAt" timestamp(3) NOT NULL DEFAULT now(),
    CONSTRAINT "Organization_pkey" PRIMARY KEY (id));
CREATE UNIQUE INDEX "Organization_slug_key" ON "Organization" (slug);
CREATE TABLE "User" (id text NOT NULL, email text NOT NULL, name text, CONSTRAINT "User_pkey" PRIMARY KEY (id));
CREATE UNIQUE INDEX "User_email_key" ON "User" (email);
CREATE TABLE "Session" (id text PRIMARY KEY, "sessionToken" text NOT NULL UNIQUE, "userId" text NOT NULL REFERENCES "User", expires timestamp(3) NOT NULL);
CREATE TABLE "Membership" (id text PRIMARY KEY, role "Role" NOT NULL DEFAULT 'MEMBER', "userId" text NOT NULL REFERENCES "User",
    "organizationId" text NOT NULL REFERENCES "Organization" ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE "Project" (id text PRIMARY KEY, name text NOT NULL, "organizationId" text NOT NULL REFERENCES "Organization" ON DELETE CASCADE ON UPDATE CASCADE);
CREATE TABLE "ApiKey" (id text PRIMARY KEY, "hashedKey" text NOT NULL UNIQUE, "organizationId" text NOT NULL REFERENCES "Organization");
CREATE TABLE "Label" (id text PRIMARY KEY, name text NOT NULL, "organizationId" text NOT NULL REFERENCES "Organization");
CREATE TABLE "Task" (id text PRIMARY KEY, title text NOT NULL, "projectId" text NOT NULL REFERENCES "Project", "assigneeId" text REFERENCES "Membership");
CREATE TABLE "TaskComment" (id text PRIMARY KEY, body text NOT NULL, "authorId" text NOT NULL REFERENCES "Membership", "taskId" text NOT NULL REFERENCES "Task");
CREATE TABLE "_LabelToTask" ("A" text NOT NULL REFERENCES "Label" ON DELETE CASCADE, "B" text NOT NULL REFERENCES "Task" ON DELETE CASCADE);
CREATE UNIQUE INDEX "_LabelToTask_AB_unique" ON "_LabelToTask" ("A", "B");
INSERT INTO "Organization" (id, name, slug) VALUES ('clorga', 'Acme', 'acme'), ('clorgb', 'Globex', 'glo bex');
INSERT INTO "User" VALUES ('clusra', 'ann@acme.test', 'Ann'), ('clusrb', 'gil@globex.test', 'Gil');
INSERT INTO "Membership" VALUES ('clmema', 'OWNER', 'clusra', 'clorga'), ('clmemb', 'OWNER', 'clusrb', 'clorgb');
INSERT INTO "Project" VALUES ('clproa', 'Anvils', 'clorga'), ('clprob', 'Gadgets', 'clorgb');
INSERT INTO "Label" VALUES ('cllaba', 'iron', 'clorga'), ('cllabb', 'tin', 'clorgb');
INSERT INTO "Task" VALUES ('cltska', 'forge', 'clproa', 'clmema'), ('cltskb', 'ship', 'clprob', 'clmemb');
INSERT INTO "TaskComment" VALUES ('clcoma', 'hot', 'clmema', 'cltska'), ('clcomb', 'soon', 'clmemb', 'cltskb');
INSERT INTO "_LabelToTask" VALUES ('cllaba', 'cltska'), ('cllabb', 'cltskb');
