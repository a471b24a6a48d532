"""What a run leaves for people and programs: `report.json`, its schema, and the page drawn from it.

Nothing is imported here: the models need pydantic and the page needs jinja2, which only a run that ends pays for.
"""

from __future__ import annotations
