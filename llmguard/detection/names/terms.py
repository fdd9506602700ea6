"""Words that the rules of names know by heart: short lists, written by hand, case-folded unless said otherwise."""

from __future__ import annotations

PARTICLES = frozenset(
    (
        "von", "van", "der", "den", "de", "del", "della", "di", "da", "do", "dos", "das", "du", "la", "le", "el",
        "al", "bin", "ibn", "ben", "ter", "ten", "zu", "zum", "af", "av", "'t", "t", "e", "y", "und",
    )
)  # fmt: skip
"""What stands within names: ``Ludwig van der Meer``."""
AND = frozenset(("e", "y", "und"))
"""Particles that mean *and*: they stand between two people more often than within one."""
ADDRESSING = frozenset(
    (
        "dr", "prof", "mr", "mrs", "ms", "sr", "sra", "dott", "avv", "ing", "gruß", "grüße", "lieber", "liebe", "beste",
        "caro", "cara", "gentile", "egregio", "cher", "chère", "querida", "querido", "estimado", "estimada", "prezado",
        "prezada", "geachte", "hoi", "hallo", "familie", "famille", "familia", "família", "famiglia", "schüler",
        "schülerin", "herr",
        "herrn", "frau", "parent", "teacher", "student", "coach", "nurse", "officer", "agent", "chef",
    )
)  # fmt: skip
"""Titles, greetings and roles: no part of the name that they stand before."""
FUNCTION_WORDS = frozenset(
    (
        "the", "a", "an", "this", "that", "these", "those", "during", "in", "on", "at", "by", "for", "from", "to",
        "of", "with", "and", "or", "but", "if", "as", "is", "are", "was", "were", "be", "will", "can", "may",
        "should", "so", "then", "when", "while", "where", "who", "what", "why", "how", "i", "he", "she", "it", "we",
        "you", "they", "his", "her", "my", "our", "your", "their", "no", "not", "yes", "ok", "also", "now", "here",
        "there", "since", "der", "die", "das", "ein", "eine", "ich", "er", "sie", "es", "wir", "und", "oder", "aber",
        "im", "am", "mit", "le", "la", "les", "un", "une", "je", "il", "elle", "et", "ou", "mais", "el", "los", "las",
        "una", "yo", "y", "o", "lo", "gli", "uno", "io", "e", "ma", "os", "as", "um", "uma", "eu", "de", "het", "een",
        "ik", "en", "maar",
    )
)  # fmt: skip
"""Words that are never part of a name or an address, but for the particles, in the languages of the model."""
PLACES = frozenset(
    (
        "Hills", "Hill", "Pier", "Bay", "Coast", "Falls", "Gorge", "Square", "Street", "Avenue", "Bridge", "Gate",
        "Tower", "Castle", "Beach", "Island", "Valley", "Heights", "Village", "City", "County", "Creek", "Springs",
        "Harbor",
    )
)  # fmt: skip
"""What names of places end with, in title case."""
TECHNICAL = frozenset(
    (
        "alpine", "android", "angular", "ansible", "apache", "azure", "bash", "charset", "chrome", "claude", "darwin",
        "debian", "django", "docker", "fedora", "firefox", "gemini", "github", "gitlab", "gnome", "golang", "grafana",
        "haskell", "java", "javascript", "jenkins", "jira", "json", "kafka", "kotlin", "kubernetes", "laravel",
        "linux", "llama", "lua", "makefile", "maven", "mistral", "mongodb", "nginx", "numpy", "oracle", "pandas",
        "perl", "postgres", "prometheus", "pytest", "python", "pytorch", "rails", "redis", "redux", "ruby", "rust",
        "safari", "scala", "selenium", "siri", "slack", "solaris", "sphinx", "stderr", "stdin", "stdout", "swift",
        "symfony", "terraform", "travis", "typescript", "ubuntu", "unix", "vim", "vue", "webpack", "windows", "xcode",
        "yaml", "zope",
    )
)  # fmt: skip
"""Software that the model takes for somebody. Alone it is software; ``Ruby Miller`` is not."""
HANDLE_TAGS = frozenset(
    (
        "author", "autowired", "bean", "channel", "charset", "component", "controller", "dataclass", "deprecated",
        "entity", "everyone", "example", "getter", "here", "import", "keyframes", "license", "media", "mui",
        "namespace", "nullable", "override", "param", "property", "repository", "restcontroller", "return", "returns",
        "see", "service", "setter", "since", "staticmethod", "supports", "team", "test", "throws", "todo",
        "transactional", "type", "typedef", "value", "version",
    )
)  # fmt: skip
"""What stands behind an @ in documentation, style sheets and annotations, or calls everybody."""
