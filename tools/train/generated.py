"""Wordings of facts put together at random, so that retrieval is learned and not a list of sentences.

draw_wording gives what eval/needle_wordings.json calls a wording. No wording of the file's set
`heldout` can come up, but the frames below were written by someone who had read them.
"""

import string


def _words(text):
    return text.split()


def _phrases(text):
    return text.split("|")


NOUNS = _words(
    "age answer area award bill birthday book cabin capital card case category class club colour "
    "company contract cost count crest date debt deposit desk direction distance drink duty emblem "
    "entry figure flag flower frequency game gift grade group height home income key label language "
    "letter level limit line lucky charm mark meal measure medal mission model music nickname number "
    "office order origin owner page partner path permit place plan plant prize quota range rank "
    "record reference result route rule salary sample score seal season secret section sector sign "
    "signal song source speed staff stamp station status stone storage street style subject symbol "
    "target tax team temperature theme ticket title tool total township toy trade trophy value "
    "verdict village volume wage weapon weight width wish word year"
)
ADJECTIVES = _words(
    "annual best central chosen current daily early exact expected external favourite final first "
    "former full general hidden highest internal last late legal lowest main measured monthly new "
    "official old only original private proper public real recent recorded registered regular rough "
    "second secret special standard strange true typical unknown usual weekly working"
)
VERBS = _phrases(
    "admires|arrived on day|asked for|belongs to|borrowed|bought|broke|brought|built|called|"
    "came from|cares for|chose|collects|comes after|counted|covers|depends on|described|discovered|"
    "dreams of|earned|ended at|exported|fears|finished as|follows|forgot|found|gave away|grew|"
    "has always wanted|hates|holds|imported|is afraid of|is best known for|is called|is close to|"
    "is made of|is named after|is ranked|knows all about|lent out|likes|lives at|looks after|lost|"
    "loves|measures|met|moved to|needs|never mentions|opened with|owes|ordered|paid|painted|prefers|"
    "prints|produces|promised|reads about|received|repaired|reported|requested|runs on|saved|sells|"
    "sent|serves|sings of|sleeps beside|sold|started with|stole|studies|talks about|takes|teaches|"
    "threw away|trades in|travels with|trusts|uses|voted for|waits for|wants|was given|was paid|"
    "was seen with|watches|weighs|went to|won|works with|wrote about"
)
OPENINGS = _phrases(
    "As for {k}, the|For {k}, the|In the file of {k}, the|In the case of {k}, the|"
    "With regard to {k}, the|When it comes to {k}, the|Ask about {k} and you hear that the|"
    "Everyone who knows {k} knows that the|According to {k}, the|On the card of {k} the|"
    "Next to {k} the"
)
PEOPLE = _words(
    "Children Farmers Friends Guards Guests Judges Lawyers Merchants Miners Monks Neighbours Nurses "
    "Pupils Relatives Rivals Sailors Servants Settlers Soldiers Students Teachers Travellers Visitors "
    "Voters Workers"
)
TAILS = _phrases(
    " in all| as agreed| every day| this year| at night| by post| in the morning| for a week|"
    " per month| boxes| pieces| bread| soup| cloth| paper| paint| points| pounds| miles| times| days|"
    " men| years ago| at most| or nothing| without delay| in secret| if asked| on Sundays"
)
ABOUT = _phrases(
    "What is known of {k}?|What about {k}?|What was said of {k}?|Tell me about {k}.|And {k}?|"
    "What does the text say about {k}?|Do you remember {k}?|Go on about {k}."
)
# What stands before a key of each kind.
BEFORE = {
    "city": ["", "", "the people of ", "the mayor of ", "the town of "],
    "person": ["", "", "old ", "young ", "Mr ", "Mrs ", "Doctor ", "Captain "],
    "object": ["the "],
    "clause": ["clause ", "section ", "paragraph ", "rule "],
    "project": ["project ", "team ", "group ", "plan ", "the house of "],
    "ship": ["the ship ", "the steamer ", "the yacht ", "the inn called "],
    "made": ["", "", "Saint ", "Lord ", "the island of ", "the river "],
    "number": ["number ", "item ", "room ", "patient ", "lot ", "case "],
    "word": ["the word ", "the "],
}
VALUES = _words(
    "digits3 digits4 digits5 digits6 digits7 digits4 digits5 digits6 color fruit animal metal job "
    "thing pair made made code city person word word"
)
ONSETS = _words("b br c ch d dr f fl g gr h j k kr l m n p pr r s sh st t th tr v w z")
VOWELS = _words("a e i o u a e o ai ea ou")
ENDS = _words("n r l s t m nd rk ck x th lla ra na to dor wick ton")


def made_up(rng):
    parts = [rng.choice(ONSETS) + rng.choice(VOWELS) for _ in range(rng.choice([1, 2, 2]))]
    return ("".join(parts) + rng.choice(ENDS)).capitalize()


class Generator:
    """words: words of the training text, for keys and values; spans: gives a piece of text."""

    def __init__(self, wordings, rng, words, span):
        self.wordings, self.rng, self.words, self.span = wordings, rng, words, span

    def key(self, kind):
        rng = self.rng
        if kind == "made":
            return made_up(rng)
        if kind == "number":
            return str(rng.randrange(2, 1000))
        if kind == "word":
            return rng.choice(self.words)
        return rng.choice(self.wordings.keys[kind])

    def value(self, kind):
        rng = self.rng
        if kind.startswith("digits"):
            return "".join(rng.choice(string.digits) for _ in range(int(kind[6:])))
        if kind == "made":
            return made_up(rng)
        if kind == "word":
            return rng.choice(self.words)
        if kind == "code":
            letters = "".join(rng.choice(string.ascii_uppercase) for _ in range(2))
            return f"{letters}-{rng.randrange(100, 10000)}"
        if kind in self.wordings.keys:
            return rng.choice(self.wordings.keys[kind])
        return rng.choice(self.wordings.values[kind]["items"])

    def fact(self, wording):
        """(wording, key, value); a generated wording's kinds are wider than those of the file."""
        return wording, self.key(wording["key"]), self.value(wording["value"])

    def noun(self):
        rng = self.rng
        noun = rng.choice(NOUNS)
        return f"{rng.choice(ADJECTIVES)} {noun}" if rng.random() < 0.6 else noun

    def draw_wording(self):
        rng = self.rng
        kind = rng.choice(list(BEFORE))
        who = rng.choice(BEFORE[kind]) + "{key}"
        tail = rng.choice(TAILS) if rng.random() < 0.25 else ""
        draw = rng.random()
        about = rng.choice(ABOUT)
        if draw < 0.45:
            stem, about = self.attribute(who)
        elif draw < 0.70:
            stem = f"{who} {rng.choice(VERBS)}"
        elif draw < 0.80:
            stem = f"{rng.choice(PEOPLE)} of {who} {self.plural()}"
        elif draw < 0.87:
            stem, about, tail = self.code(kind)
        else:
            stem = self.stem_of_text(who) or f"{who} {rng.choice(VERBS)}"
        stem = stem[0].upper() + stem[1:] if not stem.startswith("{") else stem
        asked = rng.random()
        if asked < 0.65:
            question = about.replace("{k}", who) + " " + stem
        elif asked < 0.88 or "{k}" in about:
            question = stem
        else:
            question = f"Question: {about}\nAnswer:"
        return {
            "id": "generated",
            "key": kind,
            "value": rng.choice(VALUES),
            "fact": f"{stem} {{value}}{tail}.",
            "question": question,
            "answer": " {value}.",
        }

    def attribute(self, who):
        """(the fact up to its value, a question that holds all that tells it from others)."""
        rng = self.rng
        noun = self.noun()
        verb = rng.choice(["is", "is", "is", "was", "remains", "became", "must be", "is said to be"])
        about = f"{rng.choice(['What is', 'Which is', 'Do you know'])} the {noun} of {who}?"
        form = rng.randrange(6)
        if form == 0:
            stem = f"{rng.choice(OPENINGS).replace('{k}', who)} {noun} {verb}"
        elif form == 1:
            stem = f"{who} has the {noun}"
        elif form == 2:
            stem = f"the {noun} {rng.choice(['for', 'given to', 'set for', 'linked to', 'at'])} {who} {verb}"
        elif form == 3:
            start = rng.choice(["they say", "note that", "we know that", "remember:"])
            stem = f"{start} the {noun} of {who} {verb}"
        else:
            stem = f"the {noun} of {who} {verb}"
        return stem, about

    def plural(self):
        rng = self.rng
        verb = rng.choice(
            ["buy", "sell", "wear", "eat", "carry", "want", "use", "bring", "share", "count", "praise"]
        )
        return f"{verb} {rng.choice(['only', 'mostly', 'always', 'exactly', 'about', 'no more than', 'any'])}"

    def code(self, kind):
        rng = self.rng
        name = self.noun().replace(" ", "_")
        who = "{key}"
        stem = rng.choice(
            [
                f"# {name} of {who}:",
                f"const {name} of {who} =",
                f"{name}[ {who} ] =",
                f"set {name} for {who} to",
                f"| {who} | {name} |",
            ]
        )
        return stem, f"# {name} of {who}?", rng.choice(["", "", ";", " |"])

    def stem_of_text(self, who):
        """Some words of the training text with the key among them."""
        words = self.span().split()[1:-1]
        words = [w for w in words if not set("{}") & set(w)]
        if len(words) < 5:
            return None
        words = words[: self.rng.randrange(5, 13)]
        words.insert(self.rng.randrange(len(words) - 1), who)
        return " ".join(words)
