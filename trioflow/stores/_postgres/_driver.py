"""What a PostgreSQL store needs of psycopg, in one place that is imported when a store is made and not before.

Who calls it: `_store.py`.
"""

from trioflow.stores._postgres._asking import Question as Question
from trioflow.stores._postgres._listening import Announcer as Announcer, Listener as Listener
from trioflow.stores._postgres._pool import Pool as Pool

__all__ = ("Announcer", "Listener", "Pool", "Question")
