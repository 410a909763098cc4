from hashfed.config import Config, make_config
from hashfed.reproduction.parameters import parameter_table, printed_formula


def test_the_papers_table_of_sizes() -> None:
    rows = {row.part: row for row in parameter_table(Config(), (10_000, 80_000))}
    assert rows["weights of a block"].counted == 4 * 96 * 96 + 2 * 96 * 1536 == 331_776
    assert rows["weights of a block"].paper == "330K"
    assert rows["biases and gains of a block"].counted == 2_400
    assert rows["all below the output layer"].counted == 3 * (331_776 + 2_400) + 2 * 96
    assert rows["output rows, 10,000 words"].counted == 960_384
    assert rows["output rows, 80,000 words"].counted == 7_680_384
    assert rows["the whole model, 10,000 words"].counted == 1_963_104
    assert rows["the whole model, 10,000 words"].paper == "1.92M"
    hashed = rows["with 30% of the rows and FFN 2560, 10,000 words"]
    assert hashed.paper == "1.71M"
    assert hashed.counted == 3 * (4 * 96**2 + 2 * 96 * 2560 + 2_400 + 1024) + 2 * 96 + 3001 * 96
    assert "leaves 16% of the rows, not 30%" in hashed.note
    assert "20%" in rows["with 30% of the rows and FFN 8192, 80,000 words"].note


def test_the_formula_that_gives_the_papers_totals() -> None:
    assert round(printed_formula(10_000, 1536) / 1e6, 2) == 1.93  # printed 1.92: cut, not rounded
    assert int(printed_formula(10_000, 1536) / 1e4) / 100 == 1.92
    assert round(printed_formula(80_000, 1536) / 1e6, 2) == 8.65


def test_other_models_are_counted_without_the_papers_numbers() -> None:
    config = make_config({"model": {"embedding": 8, "attention": 8, "heads": 2, "ffn": 16, "blocks": 2}})
    rows = {row.part: row for row in parameter_table(config, (100,))}
    assert rows["weights of a block"].counted == 4 * 64 + 2 * 8 * 16
    assert rows["output rows, 100 words"].counted == 104 * 8
    assert not any(row.paper for row in rows.values())
