"""Django: migrate on an operator login, CRUD through the ORM on a tenant's."""
import os
from urllib.parse import urlparse

import django
from django.conf import settings


def database(url):
    u = urlparse(url)
    return {"ENGINE": "django.db.backends.postgresql", "NAME": u.path[1:], "USER": u.username, "PASSWORD": u.password,
            "HOST": u.hostname, "PORT": u.port, "OPTIONS": {"client_encoding": "UTF8"}}


tenant, other = database(os.environ["DATABASE_URL"]), database(os.environ["DATABASE_URL_B"])
settings.configure(
    DATABASES={"default": database(os.environ["DATABASE_URL_OPERATOR"]), "tenant": tenant, "other": other},
    INSTALLED_APPS=["shop"],
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    USE_TZ=True,
)

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import transaction  # noqa: E402
from django.db.models import Avg, Count, F, Q  # noqa: E402
from django.db.utils import ProgrammingError  # noqa: E402
from shop.models import Author, Book  # noqa: E402

call_command("migrate", verbosity=0)
call_command("migrate", verbosity=0)        # nothing left to do

for alias, mark in (("tenant", "own"), ("other", "CANARY_B")):
    ann = Author.objects.using(alias).create(name=f"{mark} Ann")
    Book.objects.using(alias).bulk_create([Book(title=f"{mark} {n}", pages=n * 10, author=ann, facts={"n": n}) for n in range(1, 6)])

authors, books = Author.objects.using("tenant"), Book.objects.using("tenant")
assert authors.count() == 1 and books.count() == 5
assert set(books.values_list("tenant_id", flat=True)) == {1}
assert [b.title for b in books.filter(Q(pages__gt=20) & ~Q(title__endswith="5")).order_by("-pages")] == ["own 4", "own 3"]
assert books.select_related("author").get(title="own 2").author.name == "own Ann"
assert authors.prefetch_related("books").annotate(n=Count("books"), p=Avg("books__pages")).get().n == 5
assert books.filter(facts__n=3).get().title == "own 3"
assert books.filter(pages__lt=30).update(pages=F("pages") + 1) == 2
author, created = authors.get_or_create(name="own Ben")
assert created and authors.get_or_create(name="own Ben") == (author, False)
authors.bulk_create([Author(tenant_id=1, name="own Ben")], update_conflicts=True, unique_fields=["tenant_id", "name"], update_fields=["name"])
assert authors.filter(name="own Ben").count() == 1
try:
    with transaction.atomic(using="tenant"):
        books.create(title="rolled back", author=author)
        with transaction.atomic(using="tenant"):
            books.select_for_update().get(title="own 1")
        raise RuntimeError
except RuntimeError:
    pass
assert not books.filter(title="rolled back").exists()
try:
    books.filter(title="own 1").update(tenant_id=2)
    raise AssertionError("a row was given away")
except ProgrammingError:
    pass
assert not books.filter(title__contains="CANARY").exists()
assert len(list(books.iterator(chunk_size=2))) == 5
assert authors.all().delete()[0] == 7
assert Book.objects.using("other").count() == 5

call_command("migrate", "shop", "zero", verbosity=0)
print("all good")
