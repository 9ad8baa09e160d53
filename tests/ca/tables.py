"""A table that a test leaves behind (record_property("table", text)) is shown once, at the end, whichever process ran the test."""


def pytest_terminal_summary(terminalreporter):
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, text in report.user_properties:
                    if name == "table":
                        terminalreporter.write_line(text)
