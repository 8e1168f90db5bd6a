"""From a results table to what it says: phases, statistics, claims, tables, charts and the page.

Every function takes a table (polars) and returns a thing; nothing here knows how the table came about. Charts and page load
Altair, statistics load SciPy: import the modules where they are used.
"""
