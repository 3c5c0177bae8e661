"""train: a language model from the token shards that curate made, on one machine or many, resumable to the bit."""
