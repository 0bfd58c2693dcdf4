"""The schema that editors and people read is the schema that files are held against."""

from pathlib import Path

from mtsim.scenario import Scenario
from mtsim.scenario.catalogue import FOLDER
from mtsim.scenario.reference import json_schema, markdown


def test_the_page_of_every_key_is_current():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert page == markdown(), "write it again: mtsim schema --markdown > scenarios/README.md"


def test_every_link_of_the_page_leads_to_a_heading():
    page = markdown()
    slugs = {
        line[3:].replace(":", "").replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("## ")
    }
    links = {part.partition(")")[0] for part in page.split("](#")[1:]}
    assert links <= slugs


def test_every_key_has_a_meaning():
    # A tag that names its own section needs none; the section says what it is.
    blank = [
        line for line in markdown().splitlines() if line.startswith("| `") and line.endswith("|  |")
    ]
    assert all(line.startswith(("| `kind`", "| `type`", "| `policy`")) for line in blank), blank


def test_json_schema_allows_a_random_value_wherever_a_number_stands():
    schema = json_schema()
    random = {"$ref": "#/$defs/Random"}
    definitions = schema["$defs"]
    assert random in definitions["MassCancel"]["properties"]["fraction"]["anyOf"]
    assert random in definitions["MassCancel"]["properties"]["at"]["anyOf"]
    assert random in definitions["Sweep"]["properties"]["levels"]["anyOf"]
    assert "anyOf" not in schema["properties"]["seed"]


def test_json_schema_refuses_unknown_keys_in_every_section():
    schema = json_schema()
    sections = [schema, *(s for s in schema["$defs"].values() if "properties" in s)]
    assert all(section["additionalProperties"] is False for section in sections)
    assert len(sections) > 50


def test_the_schema_covers_what_a_run_is_made_of():
    covered = set(Scenario.model_fields)
    assert covered >= {
        *("instrument", "session", "rules", "latency", "flow", "opening"),
        *("agent", "task", "shocks", "evaluation", "seed"),
    }


def test_there_are_twenty_two_shocks():
    page = Path(FOLDER / "README.md").read_text(encoding="utf-8")
    assert page.count("## shock: ") == 22
