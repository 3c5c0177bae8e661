use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Puts `new` in place of a pair wherever it stands, from left to right.
fn join(symbols: &mut Vec<u32>, pair: (u32, u32), new: u32) {
    let mut at = 0;
    while at + 1 < symbols.len() {
        if (symbols[at], symbols[at + 1]) == pair {
            symbols.splice(at..at + 2, [new]);
        }
        at += 1;
    }
}

/// The rules written down naively: count all pairs anew before every merge.
fn naive_merges(words: &[(Vec<u8>, i64)], options: &TrainOptions<'_>) -> Vec<(u32, u32)> {
    let order: Vec<u8> = byte_order().collect();
    let id = |byte: &u8| {
        order
            .iter()
            .position(|known| known == byte)
            .expect("all are listed") as u32
    };
    let mut lengths = vec![1usize; 256];
    let mut words: Vec<(Vec<u32>, i64)> = words
        .iter()
        .map(|(word, count)| (word.iter().map(id).collect(), *count))
        .collect();
    let mut merges = Vec::new();
    while lengths.len() < options.vocab_size {
        let mut counts: BTreeMap<(u32, u32), i64> = BTreeMap::new();
        for (word, count) in &words {
            for pair in word.windows(2) {
                let length = lengths[pair[0] as usize] + lengths[pair[1] as usize];
                if length == 2 || options.max_token_length.is_none_or(|limit| length < limit) {
                    *counts.entry((pair[0], pair[1])).or_default() += count;
                }
            }
        }
        let best = counts
            .into_iter()
            .max_by_key(|&(pair, count)| (count, Reverse(pair)));
        let Some((pair, count)) = best else { break };
        if count < 1 || (count as u64) < options.min_frequency {
            break;
        }
        for (word, _) in &mut words {
            join(word, pair, lengths.len() as u32);
        }
        lengths.push(lengths[pair.0 as usize] + lengths[pair.1 as usize]);
        merges.push(pair);
    }
    merges
}

proptest! {
    #[test]
    fn merges_are_those_of_the_naive_rules(
        words in proptest::collection::vec(("[ab]{1,12}|[abc ]{1,6}|a{1,20}", 0i64..9), 0..12),
        vocab_size in 256usize..290,
        min_frequency in 0u64..4,
        max_token_length in proptest::option::of(1usize..8),
    ) {
        let words: Vec<(Vec<u8>, i64)> =
            words.into_iter().map(|(word, count)| (word.into_bytes(), count)).collect();
        let options = TrainOptions { vocab_size, special_tokens: &[], min_frequency, max_token_length, ..TrainOptions::default() };
        let pieces = words.iter().map(|(word, count)| (word.as_slice(), *count));
        let expected = naive_merges(&words, &options);
        // With hardly any candidates to spare, most pairs are left out and come back when they are needed.
        for spare in [0, 1, CANDIDATES] {
            let model = train_sparing(pieces.clone(), &options, &[], spare).expect("trains");
            let merges: Vec<(u32, u32)> = model.left.into_iter().zip(model.right).collect();
            prop_assert_eq!(&merges, &expected);
        }
    }
}

/// The tokens of a piece after the merges of a model, in their order.
fn merged(piece: &[u8], model: &Model) -> Vec<u32> {
    let order: Vec<u8> = byte_order().collect();
    let id = |byte: &u8| {
        order
            .iter()
            .position(|known| known == byte)
            .expect("all are listed")
    };
    let mut ids: Vec<u32> = piece.iter().map(|byte| id(byte) as u32).collect();
    for (new, (&left, &right)) in (256..).zip(model.left.iter().zip(&model.right)) {
        join(&mut ids, (left, right), new);
    }
    ids
}

proptest! {
    #[test]
    fn going_on_from_a_model_is_training_at_one_go(
        words in proptest::collection::vec(("[ab]{1,12}|[abc ]{1,6}|a{1,20}", 0i64..9), 0..12),
        first in 0usize..12,
        more in 0usize..20,
    ) {
        let words: Vec<(Vec<u8>, i64)> =
            words.into_iter().map(|(word, count)| (word.into_bytes(), count)).collect();
        let at = |vocab_size| TrainOptions { vocab_size, ..TrainOptions::default() };
        let pieces = words.iter().map(|(word, count)| (word.as_slice(), *count));
        let base = train(pieces.clone(), &at(256 + first)).expect("trains");
        // A merge can make the bytes of an older token, whose id it then has; the merges of a place tell nothing there.
        prop_assume!(base.vocab.len() == 256 + base.left.len());
        let whole = train(pieces, &at(base.vocab.len() + more)).expect("trains");
        let ids: Vec<(Vec<u32>, i64)> =
            words.iter().map(|(word, count)| (merged(word, &base), *count)).collect();
        let given = ids.iter().map(|(ids, count)| (ids.as_slice(), *count));
        let base_of = Base { vocab: &base.vocab, no_text: &[] };
        let found = extend(base_of, given, &at(base.vocab.len() + more)).expect("trains");
        prop_assert_eq!(&found.vocab, &whole.vocab);
        prop_assert_eq!(&found.left[..], &whole.left[base.left.len()..]);
        prop_assert_eq!(&found.right[..], &whole.right[base.right.len()..]);
    }
}

#[test]
fn ids_outside_the_base_are_refused() {
    let vocab = train(
        [(b"ab".as_slice(), 1)],
        &TrainOptions {
            vocab_size: 256,
            ..TrainOptions::default()
        },
    );
    let base = vocab.expect("trains");
    let base = Base {
        vocab: &base.vocab,
        no_text: &[],
    };
    let options = TrainOptions {
        vocab_size: 300,
        ..TrainOptions::default()
    };
    let error = extend(base, [(&[1u32, 256][..], 1)], &options).expect_err("refused");
    assert!(error.to_string().contains("token id 256"));
}

fn error(vocab_size: usize, special_tokens: &[&str], count: i64) -> String {
    let special_tokens: Vec<String> = special_tokens
        .iter()
        .map(|token| (*token).to_owned())
        .collect();
    let options = TrainOptions {
        vocab_size,
        special_tokens: &special_tokens,
        ..TrainOptions::default()
    };
    train([(b"ab".as_slice(), count)], &options)
        .expect_err("refused")
        .to_string()
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_limit() {
    assert!(error(256, &["<|endoftext|>"], 1).contains("at least 257"));
    assert!(error(300, &["a"], 1).contains("single byte"));
    assert!(error(300, &["<x>", "<x>"], 1).contains("twice"));
    assert!(error(300, &[""], 1).contains("empty"));
    assert!(error(300, &[], -1).contains("-1"));
    assert!(error(300, &[], i64::MAX).contains("2^63"));
}

#[test]
fn counts_may_be_larger_than_32_bits() {
    let words: [(&[u8], i64); 2] = [(b"ab", 3 << 40), (b"cd", 1 << 41)];
    let options = TrainOptions {
        vocab_size: 257,
        ..TrainOptions::default()
    };
    assert_eq!(
        train(words, &options).expect("trains").vocab.token(256),
        b"ab"
    );
}

#[test]
fn text_never_becomes_a_special_token() {
    let special_tokens = vec!["<eod>".to_owned()];
    let options = TrainOptions {
        vocab_size: 400,
        special_tokens: &special_tokens,
        ..TrainOptions::default()
    };
    let model = train([(b"<eod>".as_slice(), 5)], &options).expect("trains");
    assert!((1..model.vocab.len() as u32).all(|id| model.vocab.token(id) != b"<eod>"));
    assert_eq!(model.left.len(), 3);
}
