"""The types of personal values, by the names that settings, rules and placeholders use."""

BY_PATTERN = ("email", "ip", "phone", "card", "iban", "ssn")
"""Found by pattern and check, by default."""

ON_DEMAND = ("mac", "wallet", "api_key", "private_key")
"""Found by pattern and check where they are asked for."""

BY_MODEL = ("person", "location", "organization")
"""Found by a model for names alone."""

TYPES = (*BY_PATTERN, *ON_DEMAND, *BY_MODEL)

ENTITIES = {
    "EMAIL_ADDRESS": "email",
    "IP_ADDRESS": "ip",
    "PHONE_NUMBER": "phone",
    "CREDIT_CARD": "card",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
    "MAC_ADDRESS": "mac",
    "CRYPTO": "wallet",
    "PERSON": "person",
    "LOCATION": "location",
    "ORGANIZATION": "organization",
}
"""presidio's names for the types that it has recognizers for."""

EVERYTHING = "*"
"""Stands for values that only the step itself can find: no beginning of a text may be shown beside such a step."""
