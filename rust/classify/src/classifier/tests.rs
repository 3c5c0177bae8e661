use curate_text::{Offsets, Texts};

use super::*;

/// A model file of words a, b and labels x, y: dim 2, bigrams, `bucket` buckets, loss and rows as given.
fn file(loss: i32, bucket: i32, input: &[f32], output: &[f32]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut ints = |values: &[i32]| values.iter().for_each(|v| out.extend(v.to_le_bytes()));
    ints(&[
        793_712_314,
        12,
        2,
        5,
        5,
        1,
        5,
        2,
        loss,
        3,
        bucket,
        0,
        0,
        100,
    ]);
    out.extend(1e-4f64.to_le_bytes());
    for value in [5i32, 3, 2] {
        out.extend(value.to_le_bytes());
    }
    out.extend(9i64.to_le_bytes());
    out.extend((-1i64).to_le_bytes());
    for (word, kind) in [
        ("a", 0),
        ("b", 0),
        ("</s>", 0),
        ("__label__x", 1),
        ("__label__y", 1),
    ] {
        out.extend(word.as_bytes());
        out.push(0);
        out.extend(3i64.to_le_bytes());
        out.push(kind);
    }
    out.push(0);
    for (place, values) in [input, output].into_iter().enumerate() {
        out.extend((values.len() as i64 / 2).to_le_bytes());
        out.extend(2i64.to_le_bytes());
        values.iter().for_each(|v| out.extend(v.to_le_bytes()));
        if place == 0 {
            out.push(0);
        }
    }
    out
}

fn scores(file: &[u8], text: &str) -> Vec<f32> {
    scores_of(file, text, Form::Raw)
}

fn scores_of(file: &[u8], text: &str, form: Form) -> Vec<f32> {
    let model = Model::read(file).expect("a model");
    let offsets = [0, text.len() as i64];
    let texts = Texts::new(Offsets::Large(&offsets), text.as_bytes());
    Classifier::new(&model, form).scores(texts).expect("scores")
}

#[test]
fn a_text_is_the_mean_of_its_words_and_bigrams() {
    // a, b, </s>, one bucket for every bigram.
    let model = file(
        3,
        1,
        &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.5],
        &[2.0, 0.0, 0.0, 2.0],
    );
    // Tokens a, a, </s>; bigrams a a, a </s>: the mean of five rows is (3, 1) / 5.
    let expected = 1.0 / (1.0 + (2.0 * -2.0f64 / 5.0).exp()) + 1e-5;
    let found = scores(&model, " a\ta\n");
    assert!((f64::from(found[0]) - expected).abs() < 1e-6, "{found:?}");
    // Words that the model does not know add their bigrams alone.
    assert!(
        scores(&model, "unknown")
            .iter()
            .all(|s| (s - 0.50001).abs() < 1e-6)
    );
}

#[test]
fn what_is_repeated_may_count_once_in_each_text() {
    let model = file(
        3,
        1,
        &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.5],
        &[2.0, 0.0, 0.0, 2.0],
    );
    let once = scores_of(&model, "a b", Form::Distinct);
    assert_eq!(once, scores_of(&model, "A a b  a a", Form::Distinct));
    assert_ne!(once, scores_of(&model, "A a b  a a", Form::Plain));
    // More tokens than are looked up together; and a text does not know of the one before.
    let long = "a b ".repeat(3 * BLOCK);
    let texts = [long.as_str(), "a b"].concat();
    let offsets = [0, long.len() as i64, texts.len() as i64];
    let column = Texts::new(Offsets::Large(&offsets), texts.as_bytes());
    let model = Model::read(&model).expect("a model");
    let found = Classifier::new(&model, Form::Distinct)
        .scores(column)
        .expect("scores");
    assert_eq!(found, [once.clone(), once].concat());
}

#[test]
fn every_loss_gives_probabilities() {
    for loss in [1, 2, 3, 4] {
        let model = file(
            loss,
            1,
            &[3.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0],
            &[2.0, 0.0, 0.0, 2.0],
        );
        for text in ["", "a", "b", "a b a b", "\u{0}", "__label__x"] {
            let found = scores(&model, text);
            assert!(
                found.iter().all(|s| (0.0..=1.0).contains(s)),
                "{loss} {text} {found:?}"
            );
        }
    }
}

#[test]
fn a_damaged_file_is_an_error_wherever_it_is_cut() {
    let whole = file(
        3,
        1,
        &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.5],
        &[2.0, 0.0, 0.0, 2.0],
    );
    assert!(Model::read(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(Model::read(&whole[..end]).is_err(), "{end} bytes");
    }
    let nan = file(3, 1, &[f32::NAN; 8], &[2.0, 0.0, 0.0, 2.0]);
    assert!(Model::read(&nan).is_err());
    let too_few = file(3, 2, &[1.0; 8], &[2.0, 0.0, 0.0, 2.0]);
    assert!(Model::read(&too_few).is_err());
}

proptest::proptest! {
    #[test]
    fn no_change_of_a_byte_makes_a_file_that_panics(place in 0usize..300, byte: u8) {
        let mut bytes = file(3, 1, &[1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.5, 0.5], &[2.0, 0.0, 0.0, 2.0]);
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Ok(model) = Model::read(&bytes) {
            let texts = Texts::new(Offsets::Large(&[0, 5]), b"a b c");
            let _ = Classifier::new(&model, Form::Distinct).scores(texts);
        }
    }
}

#[test]
fn plain_tokens_are_words_marks_and_numbers() {
    let mut out = Vec::new();
    plain_tokens(
        "Don't  PAY 1,000 €\u{a0}für Ärger—naı\u{308}ve\u{0}",
        &mut out,
    );
    assert_eq!(
        String::from_utf8_lossy(&out),
        "don ' t pay 0 , 0 € für ärger — naı\u{308}ve "
    );
}
