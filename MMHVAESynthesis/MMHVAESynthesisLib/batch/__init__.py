"""Many cases: a table or a folder of them, each written whole or not at all, a report of all. Importing this imports
nothing else.

``cases`` says what a case is, ``table`` and ``folder`` find cases, ``work`` does one, ``runner`` does all, here or on a
Dask cluster (``cluster``), and ``report`` shows what came out.
"""
