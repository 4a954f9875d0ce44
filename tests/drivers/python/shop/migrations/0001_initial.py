from django.db import migrations, models


def tenant():
    return models.IntegerField(editable=False, db_default=0)


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Author", [
            ("id", models.BigAutoField(primary_key=True)),
            ("tenant_id", tenant()),
            ("name", models.CharField(max_length=100)),
        ], {"unique_together": {("tenant_id", "name")}}),
        migrations.CreateModel("Book", [
            ("id", models.BigAutoField(primary_key=True)),
            ("tenant_id", tenant()),
            ("title", models.CharField(max_length=100)),
            ("pages", models.PositiveIntegerField(default=1)),
            ("author", models.ForeignKey("shop.Author", models.CASCADE, related_name="books")),
        ]),
        migrations.AddField("Book", "facts", models.JSONField(default=dict)),
        migrations.AddIndex("Book", models.Index(fields=["tenant_id", "title"], name="book_title")),
    ]
