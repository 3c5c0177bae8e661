//! The groups of the first stage's features, beside those of the text itself (`shape`).

use crate::features::group;

group! {
    /// The elements around it.
    Place {
        tag: "element", "the innermost block-level element";
        parent_tag: "element", "the one around that";
        depth: "elements", "block-level elements above it";
        nav: "0 or 1", "in nav, a menu or a tab list";
        aside: "0 or 1", "in aside";
        footer: "0 or 1", "in footer";
        header: "0 or 1", "in header";
        main: "0 or 1", "in main";
        article: "0 or 1", "in article";
        section: "0 or 1", "in section";
        form: "0 or 1", "in a form";
        table: "0 or 1", "in a table";
        list: "0 or 1", "in a list";
        definitions: "0 or 1", "in dl";
        quote: "0 or 1", "in blockquote";
        pre: "0 or 1", "in pre";
        figure: "0 or 1", "in figure";
        control: "0 or 1", "in a button, a selection or a label";
        hidden: "0 or 1", "not shown";
        noscript: "0 or 1", "in noscript";
        heading: "0 or 1", "in a heading";
        h1: "0 or 1", "in h1";
        paragraph: "0 or 1", "in p";
        details: "0 or 1", "in details";
        article_body: "0 or 1", "in itemprop=articleBody";
        dialog: "0 or 1", "in a dialog";
        comments: "0 or 1", "in an element whose class, id or itemprop names comments";
    }
}

group! {
    /// What its names and words are worth.
    Learned {
        path: "weight", "sum over the names of all elements around it";
        path_min: "weight", "smallest name";
        path_max: "weight", "largest name";
        inline: "weight", "sum over the names of inline elements at its start";
        words: "weight", "sum over its first words";
        words_mean: "weight", "mean of its first words";
        words_min: "weight", "smallest of its first words";
        words_known: "share", "its first words that have a weight";
    }
}

group! {
    /// Where it stands on the page.
    Position {
        share: "share", "blocks before it";
        index: "blocks", "blocks before it, at most 500";
        index_from_end: "blocks", "blocks from it to the end, at most 500";
        chars_before: "share", "characters before it";
        from_h1: "blocks", "distance from the first h1, -500 without one";
        from_first_good: "blocks", "distance from the first good block";
        from_last_good: "blocks", "distance from the last good block";
        since_good: "blocks", "since the last good block before it";
        until_good: "blocks", "until the next good block";
        since_heading: "blocks", "since the last heading";
        good_before: "share", "good characters before it";
    }
}

group! {
    /// The block before, or after.
    Beside {
        chars: "characters", "its length, -1 without one";
        link_share: "share", "its link share";
        tag: "element", "its element";
        same_node: "0 or 1", "it has the same element around it";
        sentences: "count", "its ends of sentences";
    }
}

group! {
    /// The block two or three away.
    Near {
        chars: "characters", "its length, -1 without one";
        link_share: "share", "its link share";
        sentences: "count", "its ends of sentences";
    }
}

group! {
    /// The blocks within some distance on both sides.
    Window {
        chars: "characters", "mean length";
        link_share: "share", "link text among their characters";
        good_share: "share", "good blocks among their characters";
    }
}

group! {
    /// An ancestor that covers more blocks than the one below it.
    Ancestor {
        chars: "share", "the page's characters in it";
        link_share: "share", "link text among its characters";
        blocks: "blocks", "blocks in it";
        good: "share", "the page's good characters in it";
        good_share: "share", "good blocks among its characters";
        below: "share", "part of it that the ancestor below holds";
        tag: "element", "its element";
        mean_chars: "characters", "characters a block";
    }
}

group! {
    /// The first block of an ancestor, often its heading.
    Lead {
        words: "weight", "what its words are worth";
        chars: "characters", "its length, at most 200";
    }
}

group! {
    /// The last heading before it.
    Heading {
        words: "weight", "what its words are worth; 0 without one";
        path: "weight", "what its names are worth";
        tag: "element", "its element";
        same_section: "0 or 1", "the element around the heading holds the block too";
        chars_since: "characters", "text since the heading, -1 without one";
    }
}

group! {
    /// How much of it stands elsewhere on the page.
    Repeated {
        earlier: "share", "its word 5-grams that an earlier block has";
        anywhere: "share", "its word 5-grams that another block has";
    }
}

group! {
    /// Its relation to the element that holds the most good text and the least else.
    Best {
        inside: "0 or 1", "it stands in it";
        distance: "blocks", "distance from it, negative before it";
        up: "elements", "elements up to one that holds both";
        of_common: "share", "its blocks among those of the element that holds both";
        good: "share", "the page's good characters in it";
        chars: "share", "the page's characters in it";
    }
}

group! {
    /// The blocks with the same path of elements, classes and ids.
    Alike {
        blocks: "blocks", "how many";
        chars: "share", "the page's characters in them";
        link_share: "share", "link text among their characters";
        good: "share", "the page's good characters in them";
        mean_chars: "characters", "characters a block";
        span: "share", "from the first to the last of them, in blocks of the page";
        first: "share", "blocks of the page before the first of them";
        since_first: "blocks", "distance from the first of them, at most 200";
        same_element: "blocks", "blocks with the same element, class and id, wherever";
        same_element_chars: "share", "the page's characters in those";
        same_text: "blocks", "blocks with the same words";
        same_first_word: "blocks", "blocks with the same first word";
    }
}

group! {
    /// What the page says of itself: its title and its description, their first words.
    Title {
        share: "share", "its first words that are in the title";
        covered: "share", "words of the title that it has";
        from_match: "blocks", "distance from the block that is most like the title, -500 without one";
        heading_covered: "share", "words of the title that the last heading before it has";
        described: "share", "words of the description that it has";
    }
}

group! {
    /// The page, the same for all of its blocks.
    Whole {
        chars: "characters", "its text";
        blocks: "blocks", "its blocks";
        link_share: "share", "link text among its characters";
        good_share: "share", "good blocks among its characters";
        good: "characters", "in good blocks";
        paragraphs: "share", "blocks in p";
        short: "share", "blocks of less than 25 characters";
        in_article: "share", "characters in article";
        in_main: "share", "characters in main";
        articles: "count", "article elements";
        article_body: "0 or 1", "an element has itemprop=articleBody";
        images: "count", "img elements";
        paths: "share", "different paths a block";
        mean_chars: "characters", "characters a block";
        digits: "share", "digits among its characters";
        of_bytes: "share", "characters a byte of the page";
        title_words: "weight", "what the words of the title are worth";
    }
}

group! {
    /// How probable each kind of page is; what the page declares of itself is a part of that.
    Kind {
        article: "probability", "it is an article";
        forum: "probability", "it is a forum";
        product: "probability", "it is a product's page";
        listing: "probability", "it is a listing";
        collection: "probability", "it is a collection";
        documentation: "probability", "it is documentation";
        service: "probability", "it is a service's page";
    }
}
