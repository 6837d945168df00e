"""Load by Locust: what is asked, when, what came back, and whether that meets the objectives."""
