from django.db import models


class Author(models.Model):
    # Filled in by pgwarden: the app never names it.
    tenant_id = models.IntegerField(editable=False, db_default=0)
    name = models.CharField(max_length=100)

    class Meta:
        unique_together = [("tenant_id", "name")]


class Book(models.Model):
    tenant_id = models.IntegerField(editable=False, db_default=0)
    title = models.CharField(max_length=100)
    pages = models.PositiveIntegerField(default=1)
    facts = models.JSONField(default=dict)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")

    class Meta:
        indexes = [models.Index(fields=["tenant_id", "title"], name="book_title")]
