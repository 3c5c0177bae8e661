use curate_warc::*;
use std::time::Instant;
fn main() {
    let files: Vec<String> = std::env::args().skip(2).collect();
    let mode = std::env::args().nth(1).unwrap();
    let mut best = f64::MAX;
    for _ in 0..7 {
        let t = Instant::now();
        let (mut n, mut b) = (0, 0);
        for f in &files {
            let s = Box::new(std::fs::File::open(f).unwrap());
            if mode == "records" {
                let mut r = Reader::new(s, 0, None).unwrap();
                while let Some(x) = r.next().unwrap() {
                    n += 1;
                    b += x.body.len();
                }
            } else {
                let mut r = Rows::new(
                    s,
                    Options {
                        file: "x".into(),
                        start: 0,
                        end: None,
                        wet: false,
                        verify: false,
                    },
                )
                .unwrap();
                while let Some(x) = r.next_batch().unwrap() {
                    n += x.rows();
                    b += x.contents.values.len();
                }
            }
        }
        best = best.min(t.elapsed().as_secs_f64());
        if std::env::var("V").is_ok() {
            println!("{n} {b} {best}");
        }
    }
    println!("{mode} {best:.3} s {:.1} MB/s", 54.186268 / best);
}
