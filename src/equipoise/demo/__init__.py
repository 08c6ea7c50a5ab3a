"""The demo: real targets, real traffic, one target lost and regained, a report that judges the marks."""
