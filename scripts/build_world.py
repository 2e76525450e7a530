"""Writes world.tsv, the demo graph: facts about countries that a person can judge.

    python scripts/build_world.py          # needs pyworldatlas==0.10.0

The facts come from the data that the package pyworldatlas carries; SOURCES.md says where it has each field
from and under which terms. The same package version gives the same file, byte for byte.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyworldatlas

WORLD = Path(__file__).parent.parent / "src" / "trivium" / "demo" / "world.tsv"
PACKAGE_VERSION = "0.10.0"
SMALLEST_CLIMATE_SHARE = 1.0  # per cent of a country's area; less is a corner that nobody would name

# Notes that the source's list of lakes and rivers runs into the names.
_ENGLISH = re.compile(r"\(([^)]+)\)")
_NO_NAME = re.compile(r"^[\d\[]|^(it|although|in|lake|second|the)\s")
_AFTER_NAME = re.compile(r"\*|\s*\[s\]| river source$| source$|\s*[-\u2013]?\s*[\d,]+(-[\d,]+)? sq km.*$")

# One English name where the source has several for one river or lake, or one name for several.
RIVERS = {
    "Amazon": "Amazon River",
    "Colorado": "Colorado River",
    "Columbia": "Columbia River",
    "Congo": "Congo River",
    "Gambia": "Gambia River",
    "Niger": "Niger River",
    "Orange": "Orange River",
    "Ottawa": "Ottawa River",
    "Paraguay": "Paraguay River",
    "Pearl": "Pearl River",
    "Red": "Red River",
    "Red river": "Red River",
    "Rio Limpopo": "Limpopo",
    "Rio de la Plata/Parana": "Paraná",
    "River Murray": "Murray",
    "Río de la Plata/Paraná": "Paraná",
    "Senegal": "Senegal River",
    "Uruguay": "Uruguay River",
}
LAKES = {
    "Abhe Bid Hayk/Abhe Bad": "Lake Abbe",
    "Abhe Bad/Abhe Bid Hayk": "Lake Abbe",
    "Belcharof": "Becharof Lake",
    "Champlain": "Lake Champlain",
    "Erie": "Lake Erie",
    "Great Salt": "Great Salt Lake",
    "Huron": "Lake Huron",
    "Iliamna": "Iliamna Lake",
    "Lago Buenos Aires": "Lake General Carrera",
    "Lago General Carrera": "Lake General Carrera",
    "Lago O'Higgins": "Lake O'Higgins",
    "Lago San Martín": "Lake O'Higgins",
    "Lago Titicaca": "Lake Titicaca",
    "Michigan": "Lake Michigan",
    "Okeechobee": "Lake Okeechobee",
    "Ontario": "Lake Ontario",
    "Pontchartrain": "Lake Pontchartrain",
    "Quinghai Hu": "Qinghai Lake",
    "Red": "Red Lake",
    "Saint Clair": "Lake Saint Clair",
    "Selawik": "Selawik Lake",
    "Stettiner Haff/Zalew Szczecinski": "Szczecin Lagoon",
    "Superior": "Lake Superior",
    "Zalew Szczecinski/Stettiner Haff": "Szczecin Lagoon",
}
LANGUAGES = {
    "Dimli (individual language)": "Zazaki",
    "Kituba (Democratic Republic of Congo)": "Kituba",
    "Nauru": "Nauruan",
    "Tuvalu": "Tuvaluan",
}
PLACES = {
    "Bonaire, Saint Eustatius and Saba": "Caribbean Netherlands",
    "Micronesia": "Federated States of Micronesia",
    "South Atlantic Ocean": "Atlantic Ocean",
    "Timor Leste": "Timor-Leste",
}
# A name that two things share: a capital by country, a river by one of its countries.
CAPITALS = {("Norfolk Island", "Kingston"): "Kingston (Norfolk Island)"}
AMERICAN_RED_RIVER = "Red River of the South"

Triple = tuple[str, str, str]


def river_name(raw: str) -> str | None:
    """The English name of a river, or None where the source put a note in place of a name.

    A name in brackets is the English one: ``Donau (Danube)``.
    """
    if _NO_NAME.search(raw):
        return None
    in_brackets = _ENGLISH.search(raw)
    plain = in_brackets[1] if in_brackets and " shared " not in in_brackets[1] else raw.split("(")[0]
    name = _AFTER_NAME.sub("", plain.strip()).strip()
    return RIVERS.get(name, name)


def lake_name(raw: str) -> str | None:
    """The name of a lake without areas, stars and remarks; None where the source has a note in its place."""
    if _NO_NAME.search(raw):
        return None
    name = _AFTER_NAME.sub("", raw.split("(")[0].strip()).strip()
    return LAKES.get(name, name)


def utc_offset(hours: float) -> str:
    """``5.75`` as ``UTC+05:45``."""
    minutes = round(abs(hours) * 60)
    return f"UTC{'-' if hours < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def place_name(raw: str) -> str:
    return PLACES.get(raw.strip(), raw.strip())


def country_facts(country: pyworldatlas.Country) -> Iterator[Triple]:
    """What the package knows of one country, borders and lowest point apart."""
    name, geography = place_name(country.name), country.geography
    if geography.continent and geography.subregion:
        yield name, "continent", geography.continent
        yield name, "subregion", geography.subregion
        yield geography.subregion, "part of", geography.continent
    for capital in country.capitals:
        city = f"{name} (city)" if capital.name == name else capital.name
        yield name, "capital", CAPITALS.get((name, city), city)
    if country.currency and country.currency.name:
        yield name, "currency", country.currency.name
    for language in country.languages:
        if language.name and not language.name.endswith(" languages"):  # a family, not a language
            yield name, "language", LANGUAGES.get(language.name, language.name)
    for zone in country.timezones:
        yield name, "time zone", utc_offset(zone.raw_utc_offset_hours)
    physical = geography.physical
    for climate in physical.climate.koppen_geiger_zones:
        if climate.share_percent >= SMALLEST_CLIMATE_SHARE:
            yield name, "climate", climate.name
    for river in filter(None, (river_name(river.name) for river in physical.rivers)):
        american = (river, name) == ("Red River", "United States")
        yield AMERICAN_RED_RIVER if american else river, "flows through", name
    for lake in filter(None, (lake_name(lake.name) for lake in physical.lakes)):
        yield lake, "lies in", name


def world_facts() -> list[Triple]:
    """Every triple of the demo graph, sorted, each once; a border stands in both directions."""
    triples: set[Triple] = set()
    lowest: list[tuple[str, str]] = []
    with pyworldatlas.Atlas() as atlas:
        for country in atlas.countries():
            triples.update(country_facts(country))
            name, physical = place_name(country.name), country.geography.physical
            for neighbor in atlas.neighbors(country.codes.alpha2):
                triples.add((name, "borders", place_name(neighbor.name)))
            if physical.lowest_point:
                place = place_name(re.sub(r" River$| \(.*", "", physical.lowest_point.name))
                lowest.append((name, RIVERS.get(place, place)))
    # A lowest point that is met nowhere else says nothing about any other country.
    met = {name for head, _, tail in triples for name in (head, tail)}
    met |= {place for place, count in Counter(place for _, place in lowest).items() if count > 1}
    triples |= {(name, "lowest point", place) for name, place in lowest if place in met}
    return sorted(triples)


def main() -> None:
    if pyworldatlas.__version__ != PACKAGE_VERSION:
        raise SystemExit(f"pyworldatlas {pyworldatlas.__version__} is installed: install {PACKAGE_VERSION}")
    triples = world_facts()
    part = WORLD.with_suffix(".part")
    part.write_text("".join("\t".join(triple) + "\n" for triple in triples), encoding="utf-8")
    part.replace(WORLD)
    print(f"{WORLD.name}: {len(triples)} triples")


if __name__ == "__main__":
    main()
