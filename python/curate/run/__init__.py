"""The run layer: recipe.py says what is asked, plan.py how it is cut into passes, driver.py makes it happen."""
