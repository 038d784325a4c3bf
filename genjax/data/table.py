"""The registered names of data sources (config.data) and of tasks (config.task)."""

from genjax.data import tasks
from genjax.data.sources import bars, digits, domains, fake, folder, mnist, prepared, toys

SOURCES = {
  "mnist": mnist.Mnist,
  "fashion_mnist": mnist.FashionMnist,
  "digits": digits.Digits,
  "toy": toys.Toy,
  "bars": bars.Bars,
  "image_folder": folder.ImageFolder,
  "tfds": prepared.Prepared,
  "fake": fake.Fake,
  "domains": domains.Domains,
}
# {table: {name: class}}; a table is the one named in a core.Slot.
TABLES = {"data": SOURCES, "task": tasks.TASKS}
