"""Judges each line of stdin but the first by the JSON Schema on the first: prints null, or what is wrong, as JSON."""

import json
import sys

from jsonschema.validators import validator_for

schema = json.loads(sys.stdin.readline())
kind = validator_for(schema)
kind.check_schema(schema)
validator = kind(schema)
for line in sys.stdin:
    wrong = next(validator.iter_errors(json.loads(line)), None)
    print(json.dumps(wrong and f"{wrong.json_path}: {wrong.message}"[:300]))
