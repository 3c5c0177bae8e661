//! Scratch: texts of pages.
use curate_html::*;
use std::io::BufRead;
fn main() {
    let model = Model::built_in().unwrap();
    let cpu = curate_text::Cpu::detect().unwrap();
    let mut e = Extractor::new(&model, cpu);
    for line in std::io::stdin().lock().lines() {
        let path = line.unwrap();
        let page = std::fs::read(&path).unwrap();
        for (name, format, links) in [
            ("text", Format::Text, Links::Text),
            ("md", Format::Markdown, Links::Text),
            ("mdl", Format::Markdown, Links::Inline),
        ] {
            let form = Form {
                format,
                links,
                images: Images::Drop,
            };
            let t = e
                .extract(
                    &page,
                    None,
                    Settings {
                        form,
                        comments: Comments::Keep,
                    },
                )
                .unwrap();
            std::fs::write(format!("{path}.{name}"), t.text).unwrap();
        }
        let p = parse(&decode(&page, None).text).unwrap();
        let form = Form {
            format: Format::Markdown,
            links: Links::Inline,
            images: Images::Drop,
        };
        std::fs::write(
            format!("{path}.all"),
            output::write(&p, &vec![true; p.blocks.len()], form),
        )
        .unwrap();
    }
}
